//! How `--help` shows settings.

/// Under which heading it lists them.
pub(super) const HEADING: &str = "Settings";
