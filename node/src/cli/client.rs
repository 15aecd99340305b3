//! The command line's side of the local API.

use std::{path::PathBuf, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    api::types::Problem,
    failure::{Failure, Outcome},
    paths::{Paths, read_small},
};

/// How long a call may take before the node counts as stuck. Sending waits for a stamp, so it takes longer.
const TIMEOUT: Duration = Duration::from_secs(60);
const SEND_TIMEOUT: Duration = Duration::from_secs(3_600);

/// A connection to the running node.
pub struct Client {
    agent: ureq::Agent,
    base: String,
    token: String,
    hint: String,
}

impl Client {
    /// Finds the running node of a data directory.
    ///
    /// # Errors
    /// [`Failure`] when no node runs there, saying what to type.
    pub fn connect(paths: &Paths, network: &str) -> Outcome<Self> {
        let hint = format!(
            "no node is running for {}; start one in another terminal with: qasedak --data {} --network {network} run",
            paths.network_dir().display(),
            paths.data().display(),
        );
        let read = |path: PathBuf| read_small(&path).map(|text| text.trim().to_owned());
        let (Ok(address), Ok(token)) = (read(paths.api_address()), read(paths.api_token())) else {
            return Err(Failure::failed(hint));
        };
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT)).proxy(None).build();
        Ok(Self { agent: config.into(), base: format!("http://{address}"), token, hint })
    }

    /// Reads something.
    ///
    /// # Errors
    /// [`Failure`] with the node's own words, or what to type when it is not running.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        let request = self.agent.get(format!("{}{path}", self.base)).header("Authorization", self.bearer());
        self.read(request.call())
    }

    /// Reads something, asking for it by names and values.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_with<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Outcome<T> {
        let request = self.agent.get(format!("{}{path}", self.base)).query_pairs(query.iter().copied());
        self.read(request.header("Authorization", self.bearer()).call())
    }

    /// Changes the thing of this name.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn patch<B: Serialize, T: DeserializeOwned>(&self, path: &str, name: &str, body: &B) -> Outcome<T> {
        let request = self.agent.patch(format!("{}{path}", self.base)).query("name", name);
        self.read(request.header("Authorization", self.bearer()).send_json(body))
    }

    /// Reads something that may take longer to be worked out.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_within<T: DeserializeOwned>(&self, path: &str, timeout: Duration) -> Outcome<T> {
        let request = self
            .agent
            .get(format!("{}{path}", self.base))
            .config()
            .timeout_global(Some(timeout))
            .build()
            .header("Authorization", self.bearer());
        self.read(request.call())
    }

    /// Sends something.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Outcome<T> {
        let request = self
            .agent
            .post(format!("{}{path}", self.base))
            .config()
            .timeout_global(Some(SEND_TIMEOUT))
            .build()
            .header("Authorization", self.bearer());
        self.read(request.send_json(body))
    }

    /// Removes the thing of this name.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn delete<T: DeserializeOwned>(&self, path: &str, name: &str) -> Outcome<T> {
        let request = self
            .agent
            .delete(format!("{}{path}", self.base))
            .query("name", name)
            .header("Authorization", self.bearer());
        self.read(request.call())
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    fn read<T: DeserializeOwned>(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Outcome<T> {
        let mut answer = answer.map_err(|error| match error {
            ureq::Error::Timeout(_) => Failure::failed("the node does not answer; is the machine very busy? try again"),
            _ => Failure::failed(&self.hint),
        })?;
        let status = answer.status();
        let body = answer.body_mut();
        if status.is_success() {
            return body.read_json().map_err(|_| self.foreign());
        }
        let problem: Problem = body.read_json().map_err(|_| self.foreign())?;
        Err(if status.as_u16() == 400 { Failure::usage(problem.error) } else { Failure::failed(problem.error) })
    }

    fn foreign(&self) -> Failure {
        Failure::failed(format!(
            "what listens at {} is not this version's node; stop it, or start this version with `qasedak run`",
            self.base
        ))
    }
}
