//! A farm: one socket, the scheduler's address, and questions that need no session.
//!
//! Must never hold the state of a session.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use isochrone_model::LinkStatus;
use isochrone_model::message::{Answer, ClientReply, ClientRequest, DeviceStatus, FarmStatus, Question};
use isochrone_transport::{
    CloseCode, Connection, ControlReceiver, ControlSender, Endpoint, First, Role, TransportOptions,
};
use tokio::task::JoinSet;

use crate::connect::ConnectOptions;
use crate::driver;
use crate::error::{AskError, ConnectError, OpenError};
use crate::questions::Questions;
use crate::session::{Session, SessionOptions};

/// A farm, reached through its scheduler. Clones share its socket.
#[derive(Clone, Debug)]
pub struct Farm {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dialler: Dialler,
    /// Connected with the farm unless that is lazy, and when a question finds no connection.
    asker: tokio::sync::Mutex<Option<Asker>>,
}

/// What it takes to connect to the scheduler.
#[derive(Clone, Debug)]
pub(crate) struct Dialler {
    pub endpoint: Endpoint,
    pub options: ConnectOptions,
}

/// A connection for questions alone.
#[derive(Debug)]
struct Asker {
    connection: Connection,
    sender: ControlSender,
    questions: Arc<Questions>,
    task: JoinSet<()>,
}

impl Farm {
    /// Connects to the scheduler of a farm.
    ///
    /// # Errors
    /// When the name does not resolve, nobody answers, or the certificates do not fit.
    pub async fn connect(options: ConnectOptions) -> Result<Self, ConnectError> {
        let farm = Self::connect_lazy(options).await?;
        let asker = Asker::connect(&farm.inner.dialler).await?;
        *farm.inner.asker.lock().await = Some(asker);
        Ok(farm)
    }

    /// As [`Farm::connect`], but says nothing to the scheduler before there is something to say: the first session
    /// or question connects. Saves the two round trips that it takes to hear that all is well.
    ///
    /// # Errors
    /// When the name does not resolve or there is no socket.
    pub async fn connect_lazy(options: ConnectOptions) -> Result<Self, ConnectError> {
        let is_ipv4 = options.addresses().await?.first().is_none_or(SocketAddr::is_ipv4);
        let local: SocketAddr =
            if is_ipv4 { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let endpoint = Endpoint::bind(local, &options.identity, TransportOptions::new())
            .map_err(|error| ConnectError::Bind(Box::new(error)))?;
        let dialler = Dialler { endpoint, options };
        Ok(Self { inner: Arc::new(Inner { dialler, asker: tokio::sync::Mutex::default() }) })
    }

    /// Opens a session on a connection of its own. Several may be open at once.
    ///
    /// # Errors
    /// When the scheduler refuses, for instance the policy, or cannot be reached.
    pub async fn session(&self, options: SessionOptions) -> Result<Session, OpenError> {
        let (session, opened) = driver::begin(&self.inner.dialler, options);
        // The task that opens tells, unless the runtime stops it.
        opened.await.unwrap_or(Err(OpenError::Ended))?;
        Ok(session)
    }

    /// As [`Farm::session`], without waiting: commands may be enqueued at once, and those that are travel with the
    /// opening. The first command of a client that has never been connected is at the scheduler one round trip and
    /// a half after this, where `session` takes two round trips before one can be enqueued.
    ///
    /// Should the scheduler refuse the session, or not be reached, its commands fail with
    /// [`CommandError::SessionClosed`](crate::CommandError::SessionClosed), which says why, as
    /// [`Session::closed_reason`] does. Contents go inside commands up to 2 KiB before the farm has said what it takes;
    /// one that is set lower refuses such writes.
    #[must_use = "dropping a session closes it"]
    pub fn begin_session(&self, options: SessionOptions) -> Session {
        driver::begin(&self.inner.dialler, options).0
    }

    /// Every device of the farm and what it does now.
    ///
    /// # Errors
    /// When the scheduler does not answer.
    pub async fn devices(&self) -> Result<Vec<DeviceStatus>, AskError> {
        match self.ask(Question::Devices).await? {
            Answer::Devices(devices) => Ok(devices),
            Answer::Status(_)
            | Answer::Explanation(_)
            | Answer::Accepted
            | Answer::Links(_)
            | Answer::Refused { .. } => Err(AskError::Unexpected),
        }
    }

    /// The farm at a glance: agents, sessions, counters.
    ///
    /// # Errors
    /// When the scheduler does not answer.
    pub async fn status(&self) -> Result<FarmStatus, AskError> {
        match self.ask(Question::Status).await? {
            Answer::Status(status) => Ok(*status),
            Answer::Devices(_)
            | Answer::Explanation(_)
            | Answer::Accepted
            | Answer::Links(_)
            | Answer::Refused { .. } => Err(AskError::Unexpected),
        }
    }

    /// What is known of every path: between the scheduler and agents, between agents, and of clients of the asker's own
    /// tenant.
    ///
    /// # Errors
    /// When the scheduler does not answer.
    pub async fn links(&self) -> Result<Vec<LinkStatus>, AskError> {
        match self.ask(Question::Links).await? {
            Answer::Links(links) => Ok(links),
            Answer::Devices(_)
            | Answer::Status(_)
            | Answer::Explanation(_)
            | Answer::Accepted
            | Answer::Refused { .. } => Err(AskError::Unexpected),
        }
    }

    /// Stops the scheduler once its sessions have ended. Needs an administrator's certificate.
    ///
    /// # Errors
    /// [`AskError::Refused`] for anyone else.
    pub async fn shutdown(&self) -> Result<(), AskError> {
        match self.ask(Question::Shutdown).await? {
            Answer::Accepted => Ok(()),
            Answer::Devices(_)
            | Answer::Status(_)
            | Answer::Explanation(_)
            | Answer::Links(_)
            | Answer::Refused { .. } => Err(AskError::Unexpected),
        }
    }

    /// Closes the connections of the farm and all its clones, and waits until the peers were told.
    /// Sessions that are still open end with it; close them first.
    pub async fn close(self) {
        if let Some(asker) = self.inner.asker.lock().await.take() {
            asker.connection.close(CloseCode::Done, "");
        }
        self.inner.dialler.endpoint.close(CloseCode::Done, "");
        self.inner.dialler.endpoint.drained().await;
    }

    async fn ask(&self, question: Question) -> Result<Answer, AskError> {
        let timeout = self.inner.dialler.options.answer_timeout;
        let answer = async {
            let answer = {
                let mut asker = self.inner.asker.lock().await;
                if let Some(asker) = &mut *asker
                    && asker.is_up()
                {
                    asker.ask(question)?
                } else {
                    asker.insert(Asker::connect(&self.inner.dialler).await?).ask(question)?
                }
            };
            answer.await.map_err(|_| AskError::Lost)
        };
        match tokio::time::timeout(timeout, answer).await {
            Err(_) => Err(AskError::TimedOut { timeout }),
            Ok(Ok(Answer::Refused { reason })) => Err(AskError::Refused { reason }),
            Ok(answer) => answer,
        }
    }
}

impl Dialler {
    /// A connection to the scheduler on which `first` is said, to the first of its addresses that answers.
    pub async fn connect(
        &self,
        first: First<'_, ClientRequest>,
    ) -> Result<(Connection, ControlSender, ControlReceiver), ConnectError> {
        let timeout = self.options.connect_timeout;
        let address = || self.options.scheduler.clone();
        let connection = tokio::time::timeout(timeout, self.dial(first))
            .await
            .map_err(|_| ConnectError::TimedOut { address: address(), timeout })??;
        let (sender, receiver) = connection.take_control();
        Ok((connection, sender, receiver))
    }

    async fn dial(&self, first: First<'_, ClientRequest>) -> Result<Connection, ConnectError> {
        let address = || self.options.scheduler.clone();
        let name = self.options.scheduler_name.as_deref();
        let mut failure = ConnectError::NoAddress { address: address() };
        for target in self.options.addresses().await? {
            match self.endpoint.connect_saying(target, Role::Scheduler, name, first).await {
                Ok(connection) => return Ok(connection),
                Err(source) => failure = ConnectError::Dial { address: address(), source: Box::new(source) },
            }
        }
        Err(failure)
    }
}

impl Asker {
    async fn connect(dialler: &Dialler) -> Result<Self, ConnectError> {
        let (connection, sender, receiver) = dialler.connect(First::NOTHING).await?;
        let questions = Arc::new(Questions::default());
        let mut task = JoinSet::new();
        task.spawn(take_answers(receiver, Arc::clone(&questions)));
        Ok(Self { connection, sender, questions, task })
    }

    fn is_up(&mut self) -> bool {
        self.task.try_join_next().is_none()
    }

    fn ask(&mut self, question: Question) -> Result<tokio::sync::oneshot::Receiver<Answer>, AskError> {
        let (question_id, answer) = self.questions.register();
        self.sender.send(&ClientRequest::Ask { question_id, question }).map_err(AskError::Send)?;
        Ok(answer)
    }
}

async fn take_answers(mut receiver: ControlReceiver, questions: Arc<Questions>) {
    loop {
        match receiver.receive::<ClientReply>().await {
            Ok(Some(ClientReply::Answer { question_id, answer })) => {
                questions.answer(question_id, answer);
            }
            Ok(Some(other)) => {
                tracing::debug!(?other, "a reply that belongs to no session was dropped");
            }
            Ok(None) | Err(_) => break,
        }
    }
    questions.end();
}
