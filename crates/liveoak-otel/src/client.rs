//! The HTTP client of the exporters. It blocks: the SDK exports on threads of its own.

use crate::limits::{MAX_ANSWER, SAY_EVERY};
use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Sends requests, and says once that they fail, and once that they succeed again.
#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    said: Mutex<Said>,
}

/// What the log says about the receiver.
#[derive(Debug, Default)]
struct Said {
    failing: bool,
    at: Option<Instant>,
}

impl Said {
    /// Notes how a request went, and returns whether the log shall say it.
    fn is_news(&mut self, failing: bool, now: Instant) -> bool {
        let is_recent = self.at.is_some_and(|at| now.saturating_duration_since(at) < SAY_EVERY);
        // The first failure is said immediately; a receiver that comes and goes is not said more often.
        if self.failing == failing || (is_recent && failing) {
            return false;
        }
        self.failing = failing;
        self.at = Some(now);
        true
    }
}

impl Client {
    /// Returns a client whose requests take at most `timeout`.
    pub(crate) fn new(timeout: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .build();
        Self { agent: config.into(), said: Mutex::default() }
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let answer = self.agent.run(request.map(|body| body.to_vec()))?;
        let (head, body) = answer.into_parts();
        let body = body.into_with_config().limit(MAX_ANSWER).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }

    fn tell(&self, address: &str, problem: Option<String>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if !said.is_news(problem.is_some(), Instant::now()) {
            return;
        }
        match problem {
            Some(problem) => tracing::warn!(
                target: "liveoak",
                event = "otel",
                "telemetry cannot be sent to {address}: {problem}; the tree runs on, and what finds no place is dropped"
            ),
            None => tracing::info!(target: "liveoak", event = "otel", "telemetry is sent to {address} again"),
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let address = request.uri().to_string();
        let answer = self.send(request);
        let problem = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the answer is {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        self.tell(&address, problem);
        Ok(answer?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_one_line_for_a_dead_receiver_and_one_when_it_is_back() {
        let begin = Instant::now();
        let mut said = Said::default();
        let mut lines = |failing, second| said.is_news(failing, begin + Duration::from_secs(second));
        assert!(!lines(false, 0));
        assert!(lines(true, 1));
        assert!(!lines(true, 2) && !lines(true, 3600));
        assert!(lines(false, 3601));
        assert!(!lines(true, 3602), "a receiver that comes and goes is said once a minute");
        assert!(lines(true, 3670));
    }
}
