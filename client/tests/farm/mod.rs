//! A scheduler and agents that do what a test tells them, over real connections on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use isochrone_client::{ConnectOptions, Farm, Session, SessionOptions};
use isochrone_model::message::{
    AgentAddress, AgentToClient, Answer, BulkHeader, ClientReply, ClientRequest, ClientToAgent, Question,
};
use isochrone_model::order::SessionSecret;
use isochrone_model::{AgentId, Command, CommandId, SessionId};
use isochrone_transport::{
    Authority, Connection, ControlReceiver, ControlSender, Endpoint, Role, TransportOptions,
};

pub const SECRET: SessionSecret = SessionSecret([7; 16]);
pub const INLINE_BYTES_MAX: u64 = 2_048;

/// One end of a connection that the client dialled.
pub struct Peer {
    pub connection: Connection,
    pub sender: ControlSender,
    pub receiver: ControlReceiver,
}

impl Peer {
    pub async fn accept(endpoint: &Endpoint) -> Self {
        let connection = endpoint.accept().await.unwrap().establish().await.unwrap();
        let (sender, receiver) = connection.take_control();
        Self { connection, sender, receiver }
    }

    pub async fn request(&mut self) -> ClientRequest {
        let wait = Duration::from_secs(10);
        tokio::time::timeout(wait, self.receiver.receive()).await.unwrap().unwrap().unwrap()
    }

    /// The next request that is no batch's, after the commands before it.
    pub async fn commands(&mut self) -> Vec<Command> {
        loop {
            if let ClientRequest::Submit { commands } = self.request().await {
                return commands;
            }
        }
    }

    pub fn reply(&self, reply: &ClientReply) {
        self.sender.send(reply).unwrap();
    }

    pub fn say(&self, message: &AgentToClient) {
        self.sender.send(message).unwrap();
    }

    /// The next bulk stream and its bytes.
    pub async fn contents(&self) -> (BulkHeader, Bytes) {
        let (header, stream) = self.connection.accept_bulk::<BulkHeader>().await.unwrap().unwrap();
        let size_bytes = header.size_bytes();
        (header, stream.receive_exact(size_bytes).await.unwrap())
    }

    pub async fn send_contents(&self, header: &BulkHeader, bytes: Bytes) {
        let mut stream = self.connection.open_bulk(header).await.unwrap();
        stream.send(bytes).await.unwrap();
        stream.finish().await.unwrap();
    }

    /// Sends what the client does not want; it may stop the stream before all was sent.
    pub async fn send_unwanted(&self, header: &BulkHeader, bytes: Bytes) {
        let mut stream = self.connection.open_bulk(header).await.unwrap();
        let _ = stream.send(bytes).await;
        let _ = stream.finish().await;
    }

    /// Opens the session that was asked for.
    pub fn opened(&self, id: u64, agents: Vec<AgentAddress>) {
        self.reply(&ClientReply::Opened {
            session: SessionId(id),
            secret: SECRET,
            agents,
            inline_bytes_max: INLINE_BYTES_MAX,
        });
    }

    pub async fn answer(&mut self, expected: Question, answer: Answer) {
        match self.request().await {
            ClientRequest::Ask { question_id, question } => {
                assert_eq!(question, expected);
                self.reply(&ClientReply::Answer { question_id, answer });
            }
            other => panic!("not a question: {other:?}"),
        }
    }
}

/// The scheduler's side, and what makes certificates.
pub struct FakeFarm {
    authority: Authority,
    pub scheduler: Endpoint,
    pub farm: Farm,
    /// What it was connected with.
    pub options: ConnectOptions,
    /// The connection for questions.
    pub asker: Peer,
}

impl FakeFarm {
    pub async fn start() -> Self {
        let authority = Authority::create("test").unwrap();
        let scheduler = endpoint(&authority, Role::Scheduler, "scheduler");
        let identity = authority
            .issue(Role::Client, "local", Some("local"), Duration::from_secs(3_600))
            .unwrap()
            .identity()
            .unwrap();
        let address = scheduler.local_address().unwrap().to_string();
        let options = ConnectOptions::new(address, identity)
            .connect_timeout(Duration::from_secs(2))
            .answer_timeout(Duration::from_secs(2));
        let (farm, asker) = tokio::join!(Farm::connect(options.clone()), Peer::accept(&scheduler));
        Self { authority, scheduler, farm: farm.unwrap(), options, asker }
    }

    pub fn agent(&self, id: u32) -> (Endpoint, AgentAddress) {
        let name = format!("agent-{id}");
        let endpoint = endpoint(&self.authority, Role::Agent, &name);
        let address = endpoint.local_address().unwrap().to_string();
        (endpoint, AgentAddress { agent: AgentId(id), name, address })
    }

    /// Opens a session of a farm with these agents.
    pub async fn open(&self, id: u64, agents: Vec<AgentAddress>) -> (Session, Peer) {
        let options = SessionOptions::new().policy("heft");
        let opening = async {
            let mut peer = Peer::accept(&self.scheduler).await;
            assert_eq!(peer.request().await, ClientRequest::Open { policy: "heft".to_owned() });
            peer.opened(id, agents);
            peer
        };
        let (session, peer) = tokio::join!(self.farm.session(options), opening);
        (session.unwrap(), peer)
    }
}

/// Accepts the client's connection to an agent and welcomes it.
pub async fn welcome(agent: &Endpoint, session: u64) -> Peer {
    let mut peer = Peer::accept(agent).await;
    let hello: ClientToAgent = peer.receiver.receive().await.unwrap().unwrap();
    assert_eq!(hello, ClientToAgent::Hello { session: SessionId(session), secret: SECRET });
    peer.say(&AgentToClient::Welcome);
    peer
}

pub fn data_header(command: CommandId, offset_bytes: u64, size_bytes: u64) -> BulkHeader {
    BulkHeader::Data { session: SessionId(1), command, offset_bytes, size_bytes }
}

fn endpoint(authority: &Authority, role: Role, name: &str) -> Endpoint {
    let identity = authority.issue(role, name, None, Duration::from_secs(3_600)).unwrap().identity().unwrap();
    let mut options = TransportOptions::new();
    options.allowed_roles(&[Role::Client, Role::Admin, Role::Agent, Role::Scheduler]);
    Endpoint::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &identity, options).unwrap()
}
