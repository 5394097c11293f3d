//! `sleep-devices`: switches off devices that were not seen for long.

use std::pin::pin;

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sluice_queue::Running;

use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::refusal::NoRefusal;

/// Puts devices to sleep that were not seen for long, until they give a heartbeat.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct SleepDevices {}

/// How far it has come, and what it has done in the end.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct SleepResult {
    /// Tenants whose devices were gone through.
    tenants: u64,
    /// Devices that were put to sleep.
    devices: u64,
}

impl Job for SleepDevices {
    const QUEUE: &'static str = "sleep-devices";
    const MAX_ATTEMPTS: u32 = 3;
    const VIEWERS: &'static str = "admin";
    type Answer = SleepResult;
    type Refusal = NoRefusal;

    async fn run(self, context: &Context, running: &Running) -> Result<SleepResult, Failure> {
        let mut done = SleepResult::default();
        let mut tenants = pin!(context.filesync.tenants());
        while let Some(tenant) = tenants.try_next().await? {
            done.devices += sleep(context, &tenant, running).await?;
            done.tenants += 1;
            running.progress(&done).await?;
        }
        metrics::counter!("sluice_filesync_devices_asleep_total").increment(done.devices);
        Ok(done)
    }
}

async fn sleep(context: &Context, tenant: &str, running: &Running) -> Result<u64, Failure> {
    let mut devices = 0;
    loop {
        stop_if_cancelled(running)?;
        let step = context.filesync.sleep_devices(tenant, context.device_idle);
        let (is_more, asleep) = step.await?;
        devices += asleep;
        if !is_more {
            return Ok(devices);
        }
    }
}
