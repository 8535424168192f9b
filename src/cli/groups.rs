//! The flag that names objects, for the subcommands that write names down.

use super::model::FeatureArg;
use mostream::discover::groups::Groups;
use mostream::localize::Method;
use mostream::run::{RunError, spec};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct GroupsArg {
    /// Label objects by the named groups of `mostream discover` that they look like
    #[arg(long, value_name = "groups.json")]
    groups: Option<PathBuf>,
}

impl GroupsArg {
    /// The groups asked for; see [`spec::load_groups`].
    pub fn load(&self, method: Method, feature: FeatureArg, model: &str) -> Result<Option<Groups>, RunError> {
        let groups = self.groups.as_deref();
        groups.map(|path| spec::load_groups(path, method, feature.name(), model)).transpose()
    }
}
