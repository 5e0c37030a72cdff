//! Questions that wait for their answers, on one connection to the scheduler.
//!
//! Must never hold the connection; who asks sends the question himself.

use std::collections::HashMap;
use std::sync::Mutex;

use isochrone_model::message::Answer;
use tokio::sync::oneshot;

use crate::cell::locked;

#[derive(Debug, Default)]
struct Waiting {
    last_id: u64,
    askers: HashMap<u64, oneshot::Sender<Answer>>,
    has_ended: bool,
}

/// The questions under way. An asker whose receiver fails learns that the connection has ended.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    waiting: Mutex<Waiting>,
}

impl Questions {
    /// A number for a new question, and where its answer will be.
    pub fn register(&self) -> (u64, oneshot::Receiver<Answer>) {
        let (asker, answer) = oneshot::channel();
        let mut waiting = locked(&self.waiting);
        waiting.last_id += 1;
        let id = waiting.last_id;
        if !waiting.has_ended {
            waiting.askers.retain(|_, asker| !asker.is_closed());
            waiting.askers.insert(id, asker);
        }
        (id, answer)
    }

    pub fn answer(&self, question_id: u64, answer: Answer) {
        if let Some(asker) = locked(&self.waiting).askers.remove(&question_id) {
            // An asker that no longer waits has dropped its receiver; nobody misses the answer.
            let _ = asker.send(answer);
        }
    }

    pub fn end(&self) {
        let mut waiting = locked(&self.waiting);
        waiting.has_ended = true;
        waiting.askers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_find_their_askers_and_the_end_finds_all() {
        let questions = Questions::default();
        let (first, first_answer) = questions.register();
        let (_, second_answer) = questions.register();
        questions.answer(first, Answer::Accepted);
        questions.answer(99, Answer::Accepted);
        assert_eq!(first_answer.await, Ok(Answer::Accepted));
        questions.end();
        assert!(second_answer.await.is_err());
        assert!(questions.register().1.await.is_err());
    }
}
