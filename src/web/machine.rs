//! What a Jetson says of itself under `/sys`, for the metrics: temperatures, power, and how busy its GPU is. Elsewhere there are
//! temperatures at most.

use std::fs::{read_dir, read_to_string};
use std::path::Path;

/// Where the load of the GPU is, in tenths of a per cent: JetPack 4 and 5, then 6.
const GPU_LOADS: [&str; 4] = [
    "devices/gpu.0/load",
    "devices/platform/gpu.0/load",
    "devices/platform/17000000.gpu/load",
    "devices/platform/bus@0/17000000.gpu/load",
];
/// Rails of a power monitor.
const RAILS: std::ops::RangeInclusive<usize> = 1..=3;

/// One reading: of what, and how much.
pub type Reading = (String, f64);

#[derive(Debug, Default, PartialEq)]
pub struct Machine {
    /// Degrees Celsius.
    pub temperatures: Vec<Reading>,
    /// Watts.
    pub power: Vec<Reading>,
    /// 0 to 1.
    pub gpu_load: Option<f64>,
}

impl Machine {
    /// Reads what is there; `sys` is `/sys`.
    pub fn read(sys: &Path) -> Self {
        let zones = folders(&sys.join("class/thermal"), "thermal_zone");
        let temperature =
            |zone: &std::path::PathBuf| Some((text(&zone.join("type"))?, number(&zone.join("temp"))? / 1e3));
        let monitors = folders(&sys.join("class/hwmon"), "hwmon");
        let is_power = |monitor: &&std::path::PathBuf| text(&monitor.join("name")).as_deref() == Some("ina3221");
        let rails = monitors.iter().filter(is_power).flat_map(|monitor| RAILS.map(move |rail| (monitor, rail)));
        let power = rails.filter_map(|(monitor, rail)| {
            let file = |name: String| monitor.join(name);
            let millivolts = number(&file(format!("in{rail}_input")))?;
            let milliamperes = number(&file(format!("curr{rail}_input")))?;
            Some((text(&file(format!("in{rail}_label")))?, millivolts * milliamperes / 1e6))
        });
        Self {
            temperatures: zones.iter().filter_map(temperature).collect(),
            power: power.collect(),
            gpu_load: GPU_LOADS.iter().find_map(|path| number(&sys.join(path))).map(|load| load / 1e3),
        }
    }
}

/// The folders in `parent` whose names begin like this, in order.
fn folders(parent: &Path, name: &str) -> Vec<std::path::PathBuf> {
    let entries = read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_one =
        |path: &std::path::PathBuf| path.file_name().is_some_and(|own| own.to_string_lossy().starts_with(name));
    let mut found: Vec<_> = entries.filter(is_one).collect();
    found.sort();
    found
}

fn text(path: &Path) -> Option<String> {
    read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn number(path: &Path) -> Option<f64> {
    text(path)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};

    #[test]
    fn a_jetsons_files_are_read_and_what_is_missing_is_left_out() {
        let sys = tempfile::tempdir().unwrap();
        assert_eq!(Machine::read(sys.path()), Machine::default());
        for (path, content) in [
            ("class/thermal/thermal_zone0/type", "gpu-thermal\n"),
            ("class/thermal/thermal_zone0/temp", "51250\n"),
            // A zone that is off says nothing.
            ("class/thermal/thermal_zone1/type", "cv0-thermal\n"),
            ("class/hwmon/hwmon1/name", "ina3221\n"),
            ("class/hwmon/hwmon1/in1_label", "VDD_IN\n"),
            ("class/hwmon/hwmon1/in1_input", "5000\n"),
            ("class/hwmon/hwmon1/curr1_input", "1520\n"),
            ("class/hwmon/hwmon1/in2_label", "VDD_CPU_GPU_CV\n"),
            ("class/hwmon/hwmon0/name", "nvme\n"),
            ("devices/platform/bus@0/17000000.gpu/load", "874\n"),
        ] {
            let path = sys.path().join(path);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, content).unwrap();
        }
        let machine = Machine::read(sys.path());
        assert_eq!(machine.temperatures, [("gpu-thermal".to_owned(), 51.25)]);
        assert_eq!(machine.power, [("VDD_IN".to_owned(), 7.6)]);
        assert_eq!(machine.gpu_load, Some(0.874));
    }
}
