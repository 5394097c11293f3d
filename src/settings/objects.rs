//! Where the contents of files are kept.

use clap::Args;
use sluice_objects::Objects;
use url::Url;

use super::help::HEADING;
use super::values::objects_url;
use crate::failure::{Context, Failure};

/// Where the contents of files are kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct ObjectSettings {
    /// Where the contents of files are kept: `file:///folder`, `s3://bucket/prefix`,
    /// `gs://bucket/prefix` or `az://container/prefix`. Keys and regions are taken from the variables
    /// that the clouds' own tools know, such as AWS_ACCESS_KEY_ID [default: nowhere]
    #[arg(long, value_name = "URL", env = "SLUICE_OBJECTS_URL", value_parser = objects_url)]
    pub objects_url: Option<Url>,
}

impl ObjectSettings {
    /// The store, if there is one.
    pub fn open(&self) -> Result<Option<Objects>, Failure> {
        let variables = std::env::vars_os();
        let variables = variables.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let options: Vec<(String, String)> = variables.collect();
        let open = |url| Objects::open(url, &options).context("cannot use objects_url");
        self.objects_url.as_ref().map(open).transpose()
    }
}
