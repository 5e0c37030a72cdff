//! A task graph as the requests of a client: every task a launch, every item a buffer.
//!
//! What a task costs is not said here: a launch only carries how large its index space is to look and which kernel
//! it is to be known by. Holds no kernel's code and nothing of a farm.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use isochrone_model::message::ClientRequest;
use isochrone_model::{
    Access, AddressSpace, Argument, ArgumentInfo, BufferArgument, BufferId, Command, CommandId, CommandKind,
    KernelSignature, Launch, NdRange, Payload, ProgramId, SharedList,
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
    /// Whether commands carry the names of their tasks and items, for people.
    pub are_commands_named: bool,
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
    fn arguments(&self) -> SharedList<ArgumentInfo> {
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
        arguments.into()
    }
}

/// The index of the task that a launch's arguments name, as `KernelShape::signature` puts it.
#[must_use]
pub fn task_of_scalar(bytes: &[u8]) -> Option<usize> {
    Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
}

/// The requests of a client, in the order in which they are to be sent: programs and buffers, the commands in pieces, then
/// what lets go of the buffers. Each is made when it is asked for, since those of a large graph take more memory than the
/// graph does. Ids count from 1.
///
/// Buffers are first the items that have bytes, then one for each task that has memory to work in. Commands are first
/// the writes of inputs, if the client writes them, then the launches, in the graph's order.
#[derive(Clone, Debug)]
pub struct GraphRequests<'a> {
    graph: &'a TaskGraph,
    appearance: Appearance,
    /// By item, its buffer; 0 for those without bytes.
    buffer_of: Vec<u32>,
    /// By buffer, the item that it is.
    item_of_buffer: Vec<u32>,
    /// By buffer behind those of items, the task that works in it.
    task_of_scratch: Vec<u32>,
    /// By write, the item that it brings.
    item_of_write: Vec<u32>,
    /// By program, its kernels in the order in which a build lists them.
    kernels_of: Vec<Vec<KernelShape>>,
    scalars: Scalars,
    /// By buffer, the last command that uses it, counted from 1; 0 for none.
    last_use: Vec<u32>,
    /// Buffers that no command uses any more and that are still to be let go of.
    unused: Vec<u32>,
    /// How many commands have been made.
    made: usize,
    /// How many tasks with memory to work in are launched by those.
    scratches_made: usize,
    /// Whether some command names a later one, so that all must go in one batch.
    is_in_one_piece: bool,
}

impl<'a> GraphRequests<'a> {
    /// The requests of a valid graph.
    #[must_use]
    pub fn new(graph: &'a TaskGraph, appearance: Appearance) -> Self {
        let mut buffer_of = vec![0; graph.items.len()];
        let (mut item_of_buffer, mut item_of_write) = (Vec::new(), Vec::new());
        for (place, item) in graph.items.iter().enumerate() {
            if item.size_bytes == 0 {
                continue;
            }
            item_of_buffer.push(place as u32);
            buffer_of[place] = item_of_buffer.len() as u32;
            if appearance.are_inputs_written && item.producer.is_none() {
                item_of_write.push(place as u32);
            }
        }
        let works_in_memory = |place: &u32| graph.tasks[*place as usize].memory_bytes > 0;
        let mut requests = Self {
            graph,
            buffer_of,
            item_of_buffer,
            task_of_scratch: (0..graph.tasks.len() as u32).filter(works_in_memory).collect(),
            item_of_write,
            kernels_of: Vec::new(),
            scalars: Scalars::new(graph.tasks.len()),
            last_use: Vec::new(),
            unused: Vec::new(),
            made: 0,
            scratches_made: 0,
            is_in_one_piece: names_later_tasks(graph),
            appearance,
        };
        requests.kernels_of = requests.kernels();
        requests.find_last_uses();
        requests
    }

    /// How the tasks look.
    #[must_use]
    pub fn appearance(&self) -> &Appearance {
        &self.appearance
    }

    /// By program, its kernels in the order in which a build lists them.
    #[must_use]
    pub fn kernels_of(&self) -> &[Vec<KernelShape>] {
        &self.kernels_of
    }

    /// The kernels of a program as a build lists them. Those with as many buffers share what is told of their arguments.
    ///
    /// # Panics
    /// When there are not so many programs.
    #[must_use]
    pub fn signatures(&self, program: usize) -> Vec<KernelSignature> {
        let mut known: BTreeMap<(usize, usize, bool), SharedList<ArgumentInfo>> = BTreeMap::new();
        let mut arguments = |shape: &KernelShape| {
            let buffers = (shape.inputs, shape.outputs, shape.has_scratch);
            known.entry(buffers).or_insert_with(|| shape.arguments()).clone()
        };
        let signature =
            |shape| KernelSignature { name: KernelShape::name(shape), arguments: arguments(shape) };
        self.kernels_of[program].iter().map(signature).collect()
    }

    /// How many commands there are.
    #[must_use]
    pub fn commands(&self) -> usize {
        self.item_of_write.len() + self.graph.tasks.len()
    }

    /// How many buffers there are.
    #[must_use]
    pub fn buffers(&self) -> usize {
        self.item_of_buffer.len() + self.task_of_scratch.len()
    }

    /// How many requests come before the commands.
    #[must_use]
    pub fn setup_requests(&self) -> usize {
        self.appearance.sources.len() + self.buffers()
    }

    /// One of the requests that come before the commands: programs, then buffers.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn setup(&self, place: usize) -> ClientRequest {
        if let Some(source) = self.appearance.sources.get(place) {
            let program = ProgramId(place as u64 + 1);
            return ClientRequest::CreateProgram { program, source: source.clone(), options: String::new() };
        }
        let buffer = place - self.appearance.sources.len();
        let size_bytes = match self.item_of_buffer.get(buffer) {
            Some(item) => self.graph.items[*item as usize].size_bytes,
            None => {
                let task = self.task_of_scratch[buffer - self.item_of_buffer.len()];
                self.graph.tasks[task as usize].memory_bytes
            }
        };
        ClientRequest::CreateBuffer { buffer: BufferId(buffer as u64 + 1), size_bytes }
    }

    /// Whether all commands must go in one batch, since some name later ones.
    #[must_use]
    pub fn are_in_one_piece(&self) -> bool {
        self.is_in_one_piece
    }

    /// The next commands, at most so many, unless all must go in one batch; none when all have been made.
    pub fn next_commands(&mut self, most: usize) -> Vec<Command> {
        let left = self.commands() - self.made;
        let count = if self.is_in_one_piece { left } else { left.min(most) };
        let commands = (self.made..self.made + count).map(|place| self.command(place)).collect();
        self.made += count;
        commands
    }

    /// What lets go of the buffers that no later command uses, in order; to be sent behind the commands made so far.
    pub fn take_releases(&mut self) -> Vec<BufferId> {
        let mut unused = std::mem::take(&mut self.unused);
        unused.sort_unstable();
        unused.dedup();
        unused.into_iter().map(|buffer| BufferId(u64::from(buffer))).collect()
    }

    /// The command of a task.
    #[must_use]
    pub fn command_of(&self, task: usize) -> CommandId {
        CommandId((self.item_of_write.len() + task) as u64 + 1)
    }

    /// The task of a command; `None` for one that writes an input.
    #[must_use]
    pub fn task_of(&self, command: CommandId) -> Option<usize> {
        let task = (command.0 as usize).checked_sub(self.item_of_write.len() + 1)?;
        (task < self.graph.tasks.len()).then_some(task)
    }

    /// The item that a command writes; `None` for a task's.
    #[must_use]
    pub fn item_of_write(&self, command: CommandId) -> Option<usize> {
        let place = (command.0 as usize).checked_sub(1)?;
        self.item_of_write.get(place).map(|item| *item as usize)
    }

    /// The item that a buffer is; `None` for one to work in.
    #[must_use]
    pub fn item_of_buffer(&self, buffer: BufferId) -> Option<usize> {
        let place = (buffer.0 as usize).checked_sub(1)?;
        self.item_of_buffer.get(place).map(|item| *item as usize)
    }

    /// By program, the shapes of its tasks, each once and in order.
    fn kernels(&self) -> Vec<Vec<KernelShape>> {
        let shapes: BTreeSet<KernelShape> =
            (0..self.graph.tasks.len()).map(|place| self.shape(place)).collect();
        let mut kernels = vec![Vec::new(); self.appearance.sources.len()];
        for shape in shapes {
            kernels[self.appearance.program_of[shape.class]].push(shape);
        }
        kernels
    }

    fn shape(&self, place: usize) -> KernelShape {
        let task = &self.graph.tasks[place];
        let with_bytes = |items: &[usize]| items.iter().filter(|item| self.buffer_of[**item] > 0).count();
        KernelShape {
            class: self.appearance.class_of[place],
            inputs: with_bytes(&task.inputs),
            outputs: with_bytes(&task.outputs),
            has_scratch: task.memory_bytes > 0,
        }
    }

    fn find_last_uses(&mut self) {
        let mut last_use = vec![0; self.buffers()];
        for (place, item) in self.item_of_write.iter().enumerate() {
            last_use[self.buffer_of[*item as usize] as usize - 1] = place as u32 + 1;
        }
        let first = self.item_of_write.len() as u32 + 1;
        for (place, task) in self.graph.tasks.iter().enumerate() {
            for item in task.inputs.iter().chain(&task.outputs).filter(|item| self.buffer_of[**item] > 0) {
                last_use[self.buffer_of[*item] as usize - 1] = first + place as u32;
            }
        }
        for (last_use, task) in last_use[self.item_of_buffer.len()..].iter_mut().zip(&self.task_of_scratch) {
            *last_use = first + task;
        }
        let places = 1..=last_use.len() as u32;
        self.unused = places.filter(|buffer| last_use[*buffer as usize - 1] == 0).collect();
        self.last_use = last_use;
    }

    fn command(&mut self, place: usize) -> Command {
        match self.item_of_write.get(place) {
            Some(item) => self.write(place, *item as usize),
            None => self.launch(place - self.item_of_write.len()),
        }
    }

    fn write(&mut self, place: usize, item: usize) -> Command {
        let held = &self.graph.items[item];
        let payload = Payload::Stream { size_bytes: held.size_bytes };
        let id = CommandId(place as u64 + 1);
        let buffer = self.used(self.buffer_of[item], id);
        Command {
            id,
            after: Vec::new(),
            label: self.label(&held.name),
            kind: CommandKind::Write { buffer, offset_bytes: 0, payload },
        }
    }

    /// A buffer that a command uses.
    fn used(&mut self, buffer: u32, command: CommandId) -> BufferId {
        if u64::from(self.last_use[buffer as usize - 1]) == command.0 {
            self.unused.push(buffer);
        }
        BufferId(u64::from(buffer))
    }

    fn launch(&mut self, place: usize) -> Command {
        let (graph, id) = (self.graph, self.command_of(place));
        let task = &graph.tasks[place];
        let shape = self.shape(place);
        let items = self.appearance.items_of[place].max(1);
        let mut arguments = Vec::with_capacity(shape.inputs + shape.outputs + 3);
        for (given, access) in [(&task.inputs, Access::Read), (&task.outputs, Access::Write)] {
            for item in given.iter().filter(|item| graph.items[**item].size_bytes > 0) {
                arguments.push(whole(self.used(self.buffer_of[*item], id), access));
            }
        }
        if shape.has_scratch {
            self.scratches_made += 1;
            let buffer = self.item_of_buffer.len() + self.scratches_made;
            arguments.push(whole(self.used(buffer as u32, id), Access::Write));
        }
        arguments.push(Argument::Scalar(self.scalars.items(items)));
        arguments.push(Argument::Scalar(self.scalars.index(place)));
        // Items without bytes only order their readers behind their maker.
        let empty = task.inputs.iter().filter(|item| self.buffer_of[**item] == 0);
        let mut after: Vec<CommandId> = empty
            .filter_map(|item| self.graph.items[*item].producer)
            .chain(task.after.iter().copied())
            .map(|first| self.command_of(first))
            .collect();
        after.sort_unstable();
        after.dedup();
        Command {
            id,
            after,
            label: self.label(&task.name),
            kind: CommandKind::Launch(Launch {
                program: ProgramId(self.appearance.program_of[shape.class] as u64 + 1),
                kernel: shape.name(),
                range: NdRange::linear(items),
                arguments,
            }),
        }
    }

    fn label(&self, name: &str) -> String {
        if self.appearance.are_commands_named { name.to_owned() } else { String::new() }
    }
}

/// Whether a task comes after one that is behind it in the graph's order.
fn names_later_tasks(graph: &TaskGraph) -> bool {
    graph.tasks.iter().enumerate().any(|(place, task)| {
        let producers = task.inputs.iter().filter_map(|item| graph.items[*item].producer);
        producers.chain(task.after.iter().copied()).any(|first| first >= place)
    })
}

/// Values of arguments; commands share their bytes.
#[derive(Clone, Debug)]
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
            are_commands_named: true,
        };
        let mut requests = GraphRequests::new(&graph, appearance);
        assert_eq!(requests.setup_requests(), 3, "a program and the two buffers that have bytes");
        let buffer = ClientRequest::CreateBuffer { buffer: BufferId(2), size_bytes: 4 };
        assert_eq!(requests.setup(2), buffer, "the item without bytes has none");
        assert_eq!((requests.commands(), requests.buffers()), (3, 2), "a write and two launches");
        let mut commands = requests.next_commands(2);
        assert_eq!(requests.take_releases(), [BufferId(2)], "only the first launch reads what is written");
        commands.extend(requests.next_commands(2));
        assert_eq!(requests.next_commands(2), []);
        assert_eq!(requests.take_releases(), [BufferId(1)]);
        assert_eq!(commands.iter().map(|command| command.id.0).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(requests.item_of_write(CommandId(1)), Some(2));
        assert_eq!([1, 2, 3, 4].map(|id| requests.task_of(CommandId(id))), [None, Some(0), Some(1), None]);
        let second = &commands[2];
        assert_eq!(second.label, "b");
        assert_eq!(second.after, [requests.command_of(0)], "the empty item orders");
        let names: Vec<String> = requests.kernels_of()[0].iter().map(KernelShape::name).collect();
        assert_eq!(names, ["task0_1x0", "task0_1x1"]);
        let CommandKind::Launch(launch) = &second.kind else { panic!("a launch") };
        assert_eq!(launch.range.items(), 1);
        let signatures = requests.signatures(0);
        assert_eq!(signatures.iter().map(|kernel| kernel.name.as_str()).collect::<Vec<_>>(), names);
        assert_eq!(launch.arguments.len(), signatures[0].arguments.len());
        let Some(Argument::Scalar(bytes)) = launch.arguments.last() else {
            panic!("the task's index is last")
        };
        assert_eq!(task_of_scalar(bytes), Some(1));
    }

    #[test]
    fn kernels_with_as_many_buffers_share_what_is_told_of_their_arguments() {
        let graph = TaskGraph {
            name: "three".to_owned(),
            tasks: vec![task("a", vec![], vec![0]), task("b", vec![], vec![1]), task("c", vec![0], vec![])],
            items: [0, 1]
                .map(|task| DataItem { name: format!("i{task}"), size_bytes: 8, producer: Some(task) })
                .to_vec(),
            device_columns: Vec::new(),
        };
        let appearance = Appearance {
            class_of: vec![0, 1, 2],
            items_of: vec![1; 3],
            program_of: vec![0; 3],
            sources: vec!["s".to_owned()],
            ..Appearance::default()
        };
        let signatures = GraphRequests::new(&graph, appearance).signatures(0);
        assert!(signatures[0].arguments.is_same(&signatures[1].arguments));
        assert_eq!([1, 2].map(|place| signatures[place].arguments[0].name.clone()), ["output0", "input0"]);
    }

    #[test]
    fn a_graph_that_names_later_tasks_goes_in_one_piece() {
        let mut first = task("first", vec![], vec![]);
        first.after = vec![1];
        let tasks = vec![first, task("second", vec![], vec![])];
        let graph = TaskGraph { name: "two".to_owned(), tasks, items: vec![], device_columns: vec![] };
        let appearance = Appearance {
            class_of: vec![0, 0],
            items_of: vec![1, 1],
            program_of: vec![0],
            sources: vec!["s".to_owned()],
            ..Appearance::default()
        };
        assert_eq!(GraphRequests::new(&graph, appearance).next_commands(1).len(), 2);
    }
}
