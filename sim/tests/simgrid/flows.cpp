// Flow completion times by SimGrid, for comparison with the simulator's `shared` network.
//
// Reads cases from the standard input and writes one line of completion times for each case:
//
//   hosts H latency_seconds shared S
//   up down            H lines, bytes a second
//   from to rate cable P lines (the count comes first): a path of its own, or cable number (-1 for none)
//   rate               S lines: the cables
//   from to bytes start F lines (the count comes first)
//
// All of SimGrid's corrections for TCP are off, so that what is left is max-min fairness. The latency is the same for all
// pairs: SimGrid weighs a flow's share by the inverse of its latency, which max-min fairness does not know.
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include <simgrid/s4u.hpp>

namespace sg4 = simgrid::s4u;

int main(int argc, char* argv[])
{
  std::vector<std::string> words = {argv[0],
                                    "--cfg=network/model:CM02",
                                    "--cfg=network/bandwidth-factor:1",
                                    "--cfg=network/latency-factor:1",
                                    "--cfg=network/weight-S:0",
                                    "--cfg=network/TCP-gamma:1e30",
                                    "--cfg=network/crosstraffic:0",
                                    "--cfg=network/loopback-bw:1e18",
                                    "--cfg=maxmin/precision:1e-12",
                                    "--cfg=surf/precision:1e-12",
                                    "--log=root.thres:critical"};
  std::vector<char*> pointers;
  for (auto& word : words)
    pointers.push_back(word.data());
  int count = static_cast<int>(pointers.size());
  sg4::Engine engine(&count, pointers.data());

  int hosts, cables, paths, flows;
  double latency;
  if (!(std::cin >> hosts >> latency >> cables))
    return 1;
  auto* zone = sg4::create_full_zone("zone");
  std::vector<sg4::Host*> host(hosts);
  std::vector<const sg4::Link*> up(hosts), down(hosts), cable(cables);
  for (int i = 0; i < hosts; i++) {
    double up_rate, down_rate;
    std::cin >> up_rate >> down_rate;
    const auto name = std::to_string(i);
    host[i] = zone->create_host("host-" + name, 1e9);
    up[i]   = zone->create_link("up-" + name, up_rate)->set_latency(0)->seal();
    down[i] = zone->create_link("down-" + name, down_rate)->set_latency(0)->seal();
  }
  for (int i = 0; i < cables; i++) {
    double rate;
    std::cin >> rate;
    cable[i] = zone->create_link("cable-" + std::to_string(i), rate)->set_latency(latency)->seal();
  }
  std::cin >> paths;
  for (int i = 0; i < paths; i++) {
    int from, to, number;
    double rate;
    std::cin >> from >> to >> rate >> number;
    const auto* path = number >= 0 ? cable[number]
                                   : zone->create_link("path-" + std::to_string(i), rate)->set_latency(latency)->seal();
    std::vector<sg4::LinkInRoute> route = {sg4::LinkInRoute(up[from]), sg4::LinkInRoute(path),
                                           sg4::LinkInRoute(down[to])};
    zone->add_route(host[from]->get_netpoint(), host[to]->get_netpoint(), nullptr, nullptr, route, false);
  }
  zone->seal();
  std::cin >> flows;
  std::vector<double> ends(flows);
  for (int i = 0; i < flows; i++) {
    int from, to;
    double bytes, start;
    std::cin >> from >> to >> bytes >> start;
    sg4::Actor::create("flow-" + std::to_string(i), host[from], [&ends, &host, i, from, to, bytes, start] {
      sg4::this_actor::sleep_until(start);
      sg4::Comm::sendto(host[from], host[to], static_cast<uint64_t>(bytes));
      ends[i] = sg4::Engine::get_clock();
    });
  }
  engine.run();
  for (double end : ends)
    std::printf("%.12g\n", end);
  return 0;
}
