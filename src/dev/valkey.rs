//! A Valkey server that belongs to this process: found or refused at once, restarted when it dies,
//! never left behind.

use std::path::Path;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::child::{Plan, Ports, Running, Software, lock_log};
use crate::data_folder::{private_folder, random_secret};
use crate::failure::Failure;

/// A server that dies more often than this within [`RESTART_WINDOW`] is given up.
const RESTARTS: usize = 5;
const RESTART_WINDOW: Duration = Duration::from_secs(60);

/// How many free ports are tried: another process may take one before the server does.
const PORT_ATTEMPTS: usize = 5;

/// The server and the task that keeps it running.
pub struct PrivateValkey {
    url: String,
    ports: Ports,
    stop: CancellationToken,
    keeper: JoinHandle<Result<(), Failure>>,
}

impl PrivateValkey {
    /// Starts a server with its files in `folder` and waits until it answers.
    pub async fn start(software: &Software, folder: &Path) -> Result<Self, Failure> {
        Self::start_at(software, folder, random_secret(), Ports::free(false)?).await
    }

    /// As [`PrivateValkey::start`], as a node of a cluster whose password this is: on the ports of
    /// its last run, if they are free.
    pub async fn start_node(
        software: &Software,
        folder: &Path,
        password: String,
    ) -> Result<Self, Failure> {
        let ports = match Ports::of_last_run(folder) {
            Some(ports) => ports,
            None => Ports::free(true)?,
        };
        Self::start_at(software, folder, password, ports).await
    }

    /// Waits until the server of an earlier run, whose process was killed, has ended.
    pub async fn ended(folder: &Path) -> Result<(), Failure> {
        lock_log(folder).await.map(drop)
    }

    async fn start_at(
        software: &Software,
        folder: &Path,
        password: String,
        ports: Ports,
    ) -> Result<Self, Failure> {
        private_folder(folder)?;
        let mut plan = Plan {
            software: software.clone(),
            folder: folder.to_owned(),
            password,
            ports,
        };
        let mut attempt = 1;
        let running = loop {
            match plan.run().await {
                Ok(running) => break running,
                Err(failure) if attempt == PORT_ATTEMPTS || !plan.ports.are_taken() => {
                    return Err(failure);
                }
                Err(_) => attempt += 1,
            }
            plan.ports = Ports::free(ports.bus.is_some())?;
        };
        let (url, ports) = (plan.url(), plan.ports);
        let stop = CancellationToken::new();
        let keeper = tokio::spawn(keep(plan, running, stop.clone()));
        Ok(Self {
            url,
            ports,
            stop,
            keeper,
        })
    }

    /// `redis://…` with the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Returns when the server cannot be kept running any more.
    pub async fn given_up(&mut self) -> Failure {
        match (&mut self.keeper).await {
            Ok(Err(failure)) => failure,
            Ok(Ok(())) | Err(_) => Failure::new("Valkey is not looked after any more"),
        }
    }

    /// Ends the server; what it acknowledged is on disk.
    pub async fn stop(self) {
        self.stop.cancel();
        if !self.keeper.is_finished() {
            let _ = self.keeper.await;
        }
    }
}

/// Restarts the server on the same port whenever it dies, until `stop` or until it dies too often.
async fn keep(plan: Plan, mut running: Running, stop: CancellationToken) -> Result<(), Failure> {
    let mut deaths: Vec<Instant> = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                running.end().await;
                return Ok(());
            }
            status = running.child.wait() => {
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                warn!(status, "Valkey ended; starting it again");
                running.detach().await;
            }
        }
        deaths.retain(|death| death.elapsed() < RESTART_WINDOW);
        deaths.push(Instant::now());
        if deaths.len() > RESTARTS {
            let failure = Failure::new(format!(
                "Valkey died {} times within {} s",
                deaths.len(),
                RESTART_WINDOW.as_secs()
            ))
            .hint(format!("its log is {}", plan.log_path().display()));
            error!(%failure, "Valkey is given up");
            return Err(failure);
        }
        running = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            running = plan.run() => running?,
        };
    }
}
