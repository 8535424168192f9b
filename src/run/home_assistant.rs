//! Home Assistant, as a file says where it is.

use super::place::{Faults, Place, Wrong};
use super::spec::{Shared, SpecError, is_one_word, is_plain_name};
use super::{RunError, publish};
use crate::broker::Target;
use crate::engine::status::Board;
use crate::publish::broker;
use crate::publish::home_assistant::{HomeAssistant, Order};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// `[home-assistant]` in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct HomeAssistantSpec {
    /// The address of its MQTT broker, without user name and password.
    pub to: String,
    /// A file with `USER:PASSWORD`.
    pub credentials: Option<PathBuf>,
    /// PEM: whom to trust instead of the system's authorities, the client's own certificate, its key.
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Under which it looks for devices.
    pub prefix: Option<String>,
    /// This machine's name there; its host name where it is not said.
    pub machine: Option<String>,
}

impl HomeAssistantSpec {
    /// What is wrong begins with its key.
    fn order(&self) -> Result<Order, String> {
        if !is_one_word(&self.to) || !["mqtt", "mqtts"].contains(&self.to.split_once("://").unwrap_or_default().0) {
            return Err("to: name its MQTT broker, such as mqtt://homeassistant.local".into());
        }
        let options = self.to.split_once('?').map_or("", |(_, options)| options);
        if options.split('&').any(|option| option.starts_with("availability=")) {
            return Err(
                "to: where mostream says that it is there, Home Assistant is told by itself: leave availability out"
                    .into(),
            );
        }
        let prefix = self.prefix.clone().unwrap_or_else(|| "homeassistant".into());
        if !prefix.split('/').all(is_plain_name) {
            return Err(format!("prefix: expected letters, digits, - and _, not {prefix:?}"));
        }
        let machine = self.machine.clone().unwrap_or_else(host_name);
        if !(1..=64).contains(&machine.chars().count()) || machine.contains(char::is_control) {
            return Err(format!(
                "machine: expected a name of up to 64 letters, without control characters, not {machine:?}"
            ));
        }
        let target = Target {
            url: self.to.clone(),
            credentials: self.credentials.clone(),
            ca: self.ca.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            ..Target::default()
        };
        crate::broker::open(&target)?;
        Ok(Order { target, prefix, machine })
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().take(64).collect();
    if name.is_empty() { "mostream".into() } else { name }
}

fn place() -> Place {
    Place::of_all("home-assistant")
}

/// None where nobody asks for it.
pub(super) fn order(shared: &Shared) -> Result<Option<Order>, SpecError> {
    let order = shared.home_assistant.as_ref().map(HomeAssistantSpec::order).transpose();
    order.map_err(|why| SpecError::new("home-assistant", why))
}

/// Its files are there.
pub(super) fn check(shared: &Shared, faults: &mut Faults) {
    let orders = order(shared).into_iter().flatten();
    orders.for_each(|order| publish::check_files(&order.target, "home-assistant", &place(), faults));
}

/// Whether its broker lets the program in.
pub(super) fn connect(shared: &Shared, faults: &mut Faults) {
    for order in order(shared).into_iter().flatten() {
        faults.note(place(), broker::check(&order.target));
    }
}

pub(super) fn start(shared: &Shared, board: &Arc<Board>) -> Result<Option<HomeAssistant>, Wrong> {
    let Some(order) = order(shared).map_err(RunError::from)? else { return Ok(None) };
    HomeAssistant::start(order, board.clone()).map(Some).map_err(|error| place().wrong(error))
}
