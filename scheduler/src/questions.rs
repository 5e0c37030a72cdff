//! Answers to clients' and administrators' questions, from the machine's getters.
//!
//! It must never change the machine.

use isochrone_model::message::{Answer, FarmStatus, Question};
use isochrone_model::{SessionId, Timestamp};
use isochrone_transport::{PeerIdentity, Role};

use crate::driver::Driver;

impl Driver {
    /// Answers a question; one about a command is about the asker's own session.
    pub(crate) fn answer(
        &mut self,
        asker: &PeerIdentity,
        session: Option<SessionId>,
        question: &Question,
    ) -> Answer {
        match question {
            Question::Devices => Answer::Devices(self.machine.devices()),
            Question::Status => Answer::Status(Box::new(self.status(asker))),
            Question::Explain { command } => {
                let explanation = session.and_then(|session| self.machine.explain(session, *command));
                match explanation {
                    Some(explanation) => Answer::Explanation(explanation),
                    None => Answer::Refused {
                        reason: format!("{command} is not known to this session (any more)"),
                    },
                }
            }
            Question::Links => {
                let mut links = self.machine.links();
                if asker.role != Role::Admin {
                    let is_own = |tenant: &String| tenant.is_empty() || asker.tenant.as_ref() == Some(tenant);
                    links.retain(|link| is_own(&link.tenant));
                }
                Answer::Links(links)
            }
            Question::Shutdown if asker.role == Role::Admin => {
                self.drain();
                Answer::Accepted
            }
            Question::Shutdown => {
                Answer::Refused { reason: "only an administrator may stop the farm".to_owned() }
            }
        }
    }

    /// The farm at a glance; clients see the sessions of their own tenant.
    fn status(&self, asker: &PeerIdentity) -> FarmStatus {
        let mut status = self.machine.status();
        env!("CARGO_PKG_VERSION").clone_into(&mut status.version);
        status.uptime = self.now.since(Timestamp::ZERO);
        if asker.role != Role::Admin {
            status.sessions.retain(|session| asker.tenant.as_ref() == Some(&session.tenant));
        }
        status
    }
}
