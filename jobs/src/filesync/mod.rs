//! Jobs of file sync.

mod devices;

pub(crate) use devices::SleepDevices;
