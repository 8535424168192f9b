//! The flag that names objects, for the subcommands that write names down.

use super::exit::{Exit, Failure};
use super::model::FeatureArg;
use mostream::discover::groups::Groups;
use mostream::localize::Method;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct GroupsArg {
    /// Label objects by the named groups of `mostream discover` that they look like
    #[arg(long, value_name = "groups.json")]
    groups: Option<PathBuf>,
}

impl GroupsArg {
    /// The file asked for.
    pub fn file(&self) -> Option<&Path> {
        self.groups.as_deref()
    }

    /// The groups asked for; they must be of this model, and of the feature in use. `warn` is told when none has a name.
    pub fn load(
        &self,
        method: Method,
        feature: FeatureArg,
        model: &str,
        warn: impl Fn(&str),
    ) -> Result<Option<Groups>, Failure> {
        let Some(path) = &self.groups else { return Ok(None) };
        if method == Method::DinoSeg {
            let why = "--groups compares patch features, and dino-seg reads none: use another --method";
            return Err(Failure::new(Exit::Usage, why));
        }
        let groups = Groups::load(path).and_then(|groups| groups.expect_model(model, feature.name()));
        let groups = groups.map_err(|error| Failure::new(Exit::Input, error))?;
        if groups.names().next().is_none() {
            let file = path.display();
            warn(&format!("warning: no group in {file} has a name: mostream discover --name {file} 1=NAME"));
        }
        Ok(Some(groups))
    }
}
