//! A task graph as the requests of a client: every task a launch, every item a buffer.
//!
//! What a task costs is not said here: a launch only carries how large its index space is to look and which kernel
//! it is to be known by. Holds no kernel's code and nothing of a farm.

use bytes::Bytes;
use isochrone_model::message::ClientRequest;
use isochrone_model::{
    Access, AddressSpace, Argument, ArgumentInfo, BufferArgument, BufferId, Command, CommandId, CommandKind,
    KernelSignature, Launch, NdRange, Payload, ProgramId,
};

use super::TaskGraph;

/// How the tasks of a graph look to a scheduler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appearance {
    /// By task, the class it belongs to: tasks of a class are launches of one kernel, as far as they have as many
    /// inputs and outputs.
    pub class_of: Vec<usize>,
    /// By task, the work-items that its launch claims; 0 counts as 1.
    pub items_of: Vec<u64>,
    /// By class, the program whose kernel it is.
    pub program_of: Vec<usize>,
    /// By program, its source.
    pub sources: Vec<String>,
    /// Whether the graph's inputs are written by the client; else they are everywhere from the start.
    pub are_inputs_written: bool,
}

/// A kernel that tasks of a graph are launches of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelShape {
    /// The class of its tasks.
    pub class: usize,
    /// Buffers that it reads.
    pub inputs: usize,
    /// Buffers that it writes.
    pub outputs: usize,
    /// Whether it has a buffer to work in.
    pub has_scratch: bool,
}

impl KernelShape {
    /// The kernel's name.
    #[must_use]
    pub fn name(&self) -> String {
        let scratch = if self.has_scratch { "s" } else { "" };
        format!("task{}_{}x{}{scratch}", self.class, self.inputs, self.outputs)
    }

    /// The kernel's arguments: inputs, outputs, the buffer to work in, the work-items claimed, the task's index.
    #[must_use]
    pub fn signature(&self) -> KernelSignature {
        let buffer = |name: String, is_const| ArgumentInfo {
            name,
            type_name: "uchar*".to_owned(),
            address_space: AddressSpace::Global,
            is_const,
            value_bytes: None,
        };
        let value = |name: &str, type_name: &str, value_bytes| ArgumentInfo {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            address_space: AddressSpace::Private,
            is_const: false,
            value_bytes: Some(value_bytes),
        };
        let mut arguments: Vec<ArgumentInfo> =
            (0..self.inputs).map(|place| buffer(format!("input{place}"), true)).collect();
        arguments.extend((0..self.outputs).map(|place| buffer(format!("output{place}"), false)));
        arguments.extend(self.has_scratch.then(|| buffer("scratch".to_owned(), false)));
        arguments.push(value("items", "ulong", 8));
        arguments.push(value("task", "uint", 4));
        KernelSignature { name: self.name(), arguments }
    }
}

/// The index of the task that a launch's arguments name, as `KernelShape::signature` puts it.
#[must_use]
pub fn task_of_scalar(bytes: &[u8]) -> Option<usize> {
    Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
}

/// The requests, in the order in which they are to be sent.
#[derive(Clone, Debug, Default)]
pub struct GraphRequests {
    /// Programs and buffers.
    pub setup: Vec<ClientRequest>,
    /// The graph, whole.
    pub commands: Vec<Command>,
    /// What lets go of the buffers as soon as the commands have ended.
    pub releases: Vec<ClientRequest>,
    /// By task, its command; in rising order.
    pub command_of: Vec<CommandId>,
    /// By write, from command 1 on, the item that it brings.
    pub item_of_write: Vec<usize>,
    /// By buffer, from buffer 1 on, the item that it is; the buffers after those are for working in.
    pub item_of_buffer: Vec<usize>,
    /// By program, its kernels in the order in which a build lists them.
    pub kernels_of: Vec<Vec<KernelShape>>,
}

impl GraphRequests {
    /// The requests of a valid graph. Ids count from 1.
    #[must_use]
    pub fn new(graph: &TaskGraph, appearance: &Appearance) -> Self {
        let mut requests = Self { kernels_of: vec![Vec::new(); appearance.sources.len()], ..Self::default() };
        for (program, source) in appearance.sources.iter().enumerate() {
            requests.setup.push(ClientRequest::CreateProgram {
                program: ProgramId(program as u64 + 1),
                source: source.clone(),
                options: String::new(),
            });
        }
        let mut buffers = Buffers { last: 0 };
        let buffer_of: Vec<Option<BufferId>> = graph
            .items
            .iter()
            .enumerate()
            .map(|(place, item)| {
                (item.size_bytes > 0).then(|| {
                    requests.item_of_buffer.push(place);
                    buffers.create(item.size_bytes, &mut requests)
                })
            })
            .collect();
        let mut last = 0;
        let mut next_id = || {
            last += 1;
            CommandId(last)
        };
        if appearance.are_inputs_written {
            for (place, (item, buffer)) in graph.items.iter().zip(&buffer_of).enumerate() {
                if let (None, Some(buffer)) = (item.producer, buffer) {
                    requests.item_of_write.push(place);
                    let payload = Payload::Stream { size_bytes: item.size_bytes };
                    let kind = CommandKind::Write { buffer: *buffer, offset_bytes: 0, payload };
                    let label = item.name.clone();
                    requests.commands.push(Command { id: next_id(), after: Vec::new(), label, kind });
                }
            }
        }
        requests.command_of = graph.tasks.iter().map(|_| next_id()).collect();
        let mut scalars = Scalars::new(graph.tasks.len());
        for (place, task) in graph.tasks.iter().enumerate() {
            let scratch = (task.memory_bytes > 0).then(|| buffers.create(task.memory_bytes, &mut requests));
            let command = requests.launch(graph, appearance, &buffer_of, scratch, &mut scalars, place);
            requests.commands.push(command);
        }
        for kernels in &mut requests.kernels_of {
            kernels.sort_unstable();
            kernels.dedup();
        }
        requests
    }

    fn launch(
        &mut self,
        graph: &TaskGraph,
        appearance: &Appearance,
        buffer_of: &[Option<BufferId>],
        scratch: Option<BufferId>,
        scalars: &mut Scalars,
        place: usize,
    ) -> Command {
        let task = &graph.tasks[place];
        let given = |items: &[usize], access| -> Vec<Argument> {
            items.iter().filter_map(|item| buffer_of[*item]).map(|buffer| whole(buffer, access)).collect()
        };
        let inputs = given(&task.inputs, Access::Read);
        let outputs = given(&task.outputs, Access::Write);
        let class = appearance.class_of[place];
        let shape = KernelShape {
            class,
            inputs: inputs.len(),
            outputs: outputs.len(),
            has_scratch: scratch.is_some(),
        };
        let items = appearance.items_of[place].max(1);
        let mut arguments = inputs;
        arguments.reserve_exact(outputs.len() + 3);
        arguments.extend(outputs);
        arguments.extend(scratch.map(|buffer| whole(buffer, Access::Write)));
        arguments.push(Argument::Scalar(scalars.items(items)));
        arguments.push(Argument::Scalar(scalars.index(place)));
        let program = appearance.program_of[class];
        let kernel = shape.name();
        self.kernels_of[program].push(shape);
        // Items without bytes only order their readers behind their maker.
        let empty = task.inputs.iter().filter(|item| buffer_of[**item].is_none());
        let mut after: Vec<CommandId> = empty
            .filter_map(|item| graph.items[*item].producer)
            .chain(task.after.iter().copied())
            .map(|first| self.command_of[first])
            .collect();
        after.sort_unstable();
        after.dedup();
        Command {
            id: self.command_of[place],
            after,
            label: task.name.clone(),
            kind: CommandKind::Launch(Launch {
                program: ProgramId(program as u64 + 1),
                kernel,
                range: NdRange::linear(items),
                arguments,
            }),
        }
    }
}

/// Values of arguments; commands share their bytes.
struct Scalars {
    /// Of all tasks, side by side.
    indices: Bytes,
    last_items: (u64, Bytes),
}

impl Scalars {
    fn new(tasks: usize) -> Self {
        let indices: Vec<u8> = (0..tasks as u32).flat_map(u32::to_le_bytes).collect();
        Self { indices: indices.into(), last_items: (0, Bytes::from_static(&[0; 8])) }
    }

    fn items(&mut self, items: u64) -> Bytes {
        if self.last_items.0 != items {
            self.last_items = (items, Bytes::copy_from_slice(&items.to_le_bytes()));
        }
        self.last_items.1.clone()
    }

    fn index(&self, place: usize) -> Bytes {
        self.indices.slice(place * 4..place * 4 + 4)
    }
}

struct Buffers {
    last: u64,
}

impl Buffers {
    fn create(&mut self, size_bytes: u64, requests: &mut GraphRequests) -> BufferId {
        self.last += 1;
        let buffer = BufferId(self.last);
        requests.setup.push(ClientRequest::CreateBuffer { buffer, size_bytes });
        requests.releases.push(ClientRequest::ReleaseBuffer { buffer });
        buffer
    }
}

fn whole(buffer: BufferId, access: Access) -> Argument {
    Argument::Buffer(BufferArgument { buffer, part: None, access: Some(access), touches: None })
}

#[cfg(test)]
mod tests {
    use super::super::{DataItem, GraphTask, TaskCost};
    use super::*;

    fn task(name: &str, inputs: Vec<usize>, outputs: Vec<usize>) -> GraphTask {
        GraphTask {
            name: name.to_owned(),
            kind: "k".to_owned(),
            cost: TaskCost::Work(5),
            memory_bytes: 0,
            inputs,
            outputs,
            after: Vec::new(),
        }
    }

    #[test]
    fn items_are_buffers_and_empty_items_are_order() {
        let item =
            |name: &str, size_bytes, producer| DataItem { name: name.to_owned(), size_bytes, producer };
        let graph = TaskGraph {
            name: "two".to_owned(),
            tasks: vec![task("a", vec![2], vec![0, 1]), task("b", vec![0, 1], vec![])],
            items: vec![item("x", 8, Some(0)), item("y", 0, Some(0)), item("z", 4, None)],
            device_columns: Vec::new(),
        };
        let appearance = Appearance {
            class_of: vec![0, 0],
            items_of: vec![5, 0],
            program_of: vec![0],
            sources: vec!["s".to_owned()],
            are_inputs_written: true,
        };
        let requests = GraphRequests::new(&graph, &appearance);
        assert_eq!(requests.setup.len(), 3, "a program and the two buffers that have bytes");
        assert_eq!(requests.commands.len(), 3, "a write and two launches");
        let second = &requests.commands[2];
        assert_eq!(second.after, [requests.command_of[0]], "the empty item orders");
        let names: Vec<String> = requests.kernels_of[0].iter().map(KernelShape::name).collect();
        assert_eq!(names, ["task0_1x0", "task0_1x1"]);
        let CommandKind::Launch(launch) = &second.kind else { panic!("a launch") };
        assert_eq!(launch.range.items(), 1);
        assert_eq!(launch.arguments.len(), requests.kernels_of[0][0].signature().arguments.len());
        let Some(Argument::Scalar(bytes)) = launch.arguments.last() else {
            panic!("the task's index is last")
        };
        assert_eq!(task_of_scalar(bytes), Some(1));
    }
}
