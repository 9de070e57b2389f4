//! Owns the line of steps on their way to Redis: those that wait at the same time are one call.
//!
//! Invariant: a step is sent at most once, and its caller hears of it, or that nothing is known of it, within 15 s. Must not know what a
//! step does.

use std::sync::Arc;
use std::time::Duration;

use redis::{FromRedisValue, Script, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::failure;
use super::link::Link;
use super::reply::broken;
use crate::store::{Clock, Error, ErrorKind, Policy, Result, clock::milliseconds};

/// How many callers may wait in line before the next one waits for a place in it.
const LINE: usize = 1024;
/// A call takes no more steps than this, nor another beyond that many arguments: Redis does nothing else meanwhile. There is one call at a
/// time: what comes meanwhile is the next, and the more steps share a call the less each costs.
const MOST: usize = 128;
const MOST_ARGUMENTS: usize = 8192;
/// As long as a caller waits: in the line, and for the answer.
const LONGEST: Duration = Duration::from_secs(15);

/// Where steps are sent from. The last of its calls ends after it.
pub(super) struct Line {
    steps: mpsc::Sender<Waiting>,
}

struct Waiting {
    /// Its name, the number of its arguments, and those.
    words: Vec<Vec<u8>>,
    answer: oneshot::Sender<Result<Value>>,
}

/// What all calls have in common.
struct Calls {
    link: Arc<Link>,
    script: Script,
    prefix: String,
    policy: Vec<String>,
    clock: Clock,
}

impl Line {
    pub(super) fn new(link: Arc<Link>, prefix: &str, policy: &Policy, clock: Clock) -> Self {
        let script = Script::new(concat!(
            include_str!("queue/rows.lua"),
            include_str!("queue/moves.lua"),
            include_str!("queue/steps.lua")
        ));
        let (prefix, policy) = (prefix.to_owned(), said(policy));
        let (steps, line) = mpsc::channel(LINE);
        tokio::spawn(serve(Calls { link, script, prefix, policy, clock }, line));
        Self { steps }
    }

    /// What Redis answers to a step.
    pub(super) async fn take<T: FromRedisValue>(&self, name: &str, arguments: Vec<Vec<u8>>) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let mut words = vec![name.into(), arguments.len().to_string().into_bytes()];
        words.extend(arguments);
        let asked = async {
            self.steps.send(Waiting { words, answer }).await.map_err(|_| gone())?;
            answered.await.map_err(|_| gone())?
        };
        let slow = |_| Error::new(ErrorKind::Unavailable, "Redis does not answer in time");
        let value = timeout(LONGEST, asked).await.map_err(slow)??;
        redis::from_redis_value(value).map_err(|error| broken("an answer").with(error))
    }
}

/// The policy, in the order in which the script reads it.
fn said(policy: &Policy) -> Vec<String> {
    let Policy { lease, callbacks_per_group, removals_per_site, deletion, .. } = *policy;
    let Policy { keep_delivered, keep_dead, keep_silent, keep_waiting, most_losses, most_jobs, .. } = *policy;
    let time = |duration| milliseconds(duration).to_string();
    vec![
        time(lease),
        callbacks_per_group.to_string(),
        removals_per_site.to_string(),
        deletion.map_or_else(String::new, time),
        time(keep_delivered),
        time(keep_dead),
        time(keep_silent),
        time(keep_waiting),
        most_losses.to_string(),
        most_jobs.to_string(),
    ]
}

/// Makes calls until nobody can ask for more.
async fn serve(calls: Calls, mut line: mpsc::Receiver<Waiting>) {
    while let Some(first) = line.recv().await {
        let (mut arguments, mut steps, mut next) = (0, Vec::new(), Some(first));
        while let Some(step) = next.take() {
            // Nobody would hear of it: a claim would only be in the way until its lease ends.
            if !step.answer.is_closed() {
                arguments += step.words.len();
                steps.push(step);
            }
            if steps.len() < MOST && arguments < MOST_ARGUMENTS {
                next = line.try_recv().ok();
            }
        }
        if !steps.is_empty() {
            call(&calls, steps).await;
        }
    }
}

async fn call(calls: &Calls, steps: Vec<Waiting>) {
    let Calls { link, script, prefix, policy, clock } = calls;
    let mut invocation = script.key(prefix);
    invocation.arg(clock.told().map_or_else(String::new, |now| now.0.to_string())).arg(policy);
    for word in steps.iter().flat_map(|step| &step.words) {
        invocation.arg(word);
    }
    let answers: Result<Vec<Value>> = link.call(&invocation).await;
    let answers = answers.and_then(|answers| {
        if answers.len() == 2 * steps.len() { Ok(answers) } else { Err(broken("the number of answers")) }
    });
    match answers {
        Ok(answers) => {
            let (mut moved, mut answers) = (false, answers.into_iter());
            for step in steps {
                let (ok, answer) = (answers.next(), answers.next().unwrap_or(Value::Nil));
                let answer =
                    if ok == Some(Value::Int(1)) { Ok(answer) } else { Err(failure::of_step(answer)) };
                moved |= answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable);
                // Whoever asked may have gone: the step was taken all the same.
                let _ = step.answer.send(answer);
            }
            // It cannot write: another server may be the master by now.
            if moved {
                link.reset().await;
            }
        }
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            for step in steps {
                let error = Error::new(error.kind(), error.to_string()).with(source.clone());
                let _ = step.answer.send(Err(error));
            }
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Broken, "the task that calls Redis ended; its log says why")
}
