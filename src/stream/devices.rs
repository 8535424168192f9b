//! Capture devices of this machine.

use super::{StreamError, init};
use gst::prelude::*;
use gstreamer as gst;
use serde::Serialize;

/// A capture device.
#[derive(Clone, Debug, Serialize)]
pub struct Device {
    /// What to give as the input: `/dev/video0`.
    pub path: String,
    pub name: String,
    pub modes: Vec<DeviceMode>,
}

/// Frames a device can give; a range is shown by its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceMode {
    /// A GStreamer video format, or `MJPEG`, or the name of another coded format.
    pub format: String,
    pub width: i32,
    pub height: i32,
    /// The highest rate.
    pub fps: f64,
}

/// The devices that are plugged in, in the order of their paths.
pub fn list() -> Result<Vec<Device>, StreamError> {
    init()?;
    let monitor = gst::DeviceMonitor::new();
    monitor.add_filter(Some("Video/Source"), None);
    monitor.start().map_err(|_| StreamError::Start("capture devices cannot be listed".into()))?;
    let mut devices: Vec<Device> = monitor.devices().iter().filter_map(device).collect();
    monitor.stop();
    // video10 comes after video9.
    devices.sort_by(|a, b| (a.path.len(), &a.path).cmp(&(b.path.len(), &b.path)));
    devices.dedup_by(|a, b| a.path == b.path);
    Ok(devices)
}

/// The path of the first device.
pub(super) fn first() -> Result<String, StreamError> {
    let fail = || StreamError::Input { input: "cam".into(), why: "no capture device is plugged in".into() };
    list()?.into_iter().next().map(|device| device.path).ok_or_else(fail)
}

fn device(device: &gst::Device) -> Option<Device> {
    let properties = device.properties()?;
    let path = ["device.path", "api.v4l2.path"].into_iter().find_map(|key| properties.get::<String>(key).ok())?;
    let caps = device.caps().unwrap_or_else(gst::Caps::new_empty);
    let mut modes: Vec<DeviceMode> = Vec::new();
    for mode in caps.iter().filter_map(mode) {
        if !modes.contains(&mode) {
            modes.push(mode);
        }
    }
    Some(Device { path, name: device.display_name().into(), modes })
}

fn mode(format: &gst::StructureRef) -> Option<DeviceMode> {
    let side =
        |name: &str| format.get::<i32>(name).ok().or_else(|| Some(format.get::<gst::IntRange<i32>>(name).ok()?.max()));
    let number = |rate: gst::Fraction| f64::from(rate.numer()) / f64::from(rate.denom().max(1));
    let best = |rates: gst::List| {
        rates.iter().filter_map(|rate| rate.get::<gst::Fraction>().ok()).map(number).max_by(f64::total_cmp)
    };
    let fps = format.get::<gst::Fraction>("framerate").ok().map(number);
    let fps = fps.or_else(|| format.get::<gst::List>("framerate").ok().and_then(best));
    let fps = fps.or_else(|| Some(number(format.get::<gst::FractionRange>("framerate").ok()?.max())));
    let name = match format.name().as_str() {
        "video/x-raw" => format.get::<String>("format").ok()?,
        "image/jpeg" => "MJPEG".into(),
        other => other.trim_start_matches("video/x-").to_owned(),
    };
    Some(DeviceMode { format: name, width: side("width")?, height: side("height")?, fps: fps.unwrap_or(0.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_told_by_their_best_rate() {
        init().unwrap();
        let caps = "video/x-raw, format=YUY2, width=640, height=480, framerate={ (fraction)15/1, (fraction)30/1 }; \
            image/jpeg, width=1280, height=720, framerate=(fraction)60/1; \
            video/x-h264, width=[ 16, 1920 ], height=[ 16, 1080 ], framerate=[ 0/1, 25/1 ]";
        let caps = caps.parse::<gst::Caps>().unwrap();
        let told: Vec<String> = caps
            .iter()
            .filter_map(mode)
            .map(|mode| format!("{} {}x{}@{}", mode.format, mode.width, mode.height, mode.fps))
            .collect();
        assert_eq!(told, ["YUY2 640x480@30", "MJPEG 1280x720@60", "h264 1920x1080@25"]);
    }
}
