//! A camera to try and test with: an RTSP server that shows moving test pictures, without end.
//!
//! `rtsp_camera PORT [--size 320x240] [--fps 25] [--codec h264|h265] [--key-frames N] [--user NAME --password WORD]
//! [--certificate FILE.pem]` serves `rtsp://127.0.0.1:PORT/live` and says so in one line on standard output.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a tool of the tests, which read its line"
)]

use gstreamer_rtsp_server as server;
use server::prelude::*;
use server::{gio, glib, gst};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().expect("the port comes first");
    let mut options = std::collections::HashMap::new();
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        options.insert(name, value);
    }
    let option = |name: &str, default: &str| options.get(name).cloned().unwrap_or_else(|| default.to_owned());
    let (size, fps, key_frames) = (option("--size", "320x240"), option("--fps", "25"), option("--key-frames", "25"));
    let (width, height) = size.split_once('x').expect("--size WIDTHxHEIGHT");
    let encoder = match option("--codec", "h264").as_str() {
        "h264" => {
            format!("x264enc tune=zerolatency speed-preset=ultrafast key-int-max={key_frames} ! rtph264pay name=pay0")
        }
        "h265" => {
            format!("x265enc tune=zerolatency speed-preset=ultrafast key-int-max={key_frames} ! rtph265pay name=pay0")
        }
        other => panic!("--codec {other}"),
    };

    gst::init().expect("GStreamer starts");
    let factory = server::RTSPMediaFactory::new();
    factory.set_shared(true);
    factory.set_launch(&format!(
        "( videotestsrc is-live=true pattern=smpte ! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 \
         ! timeoverlay ! {encoder} pt=96 config-interval=-1 )"
    ));
    let rtsp = server::RTSPServer::new();
    rtsp.set_address("127.0.0.1");
    rtsp.set_service(&port);
    let certificate =
        options.get("--certificate").map(|file| gio::TlsCertificate::from_file(file).expect("a certificate"));
    if options.contains_key("--user") || certificate.is_some() {
        let auth = server::RTSPAuth::new();
        auth.set_tls_certificate(certificate.as_ref());
        let role = server::RTSPToken::builder().field("media.factory.role", "viewer").build();
        let may = gst::Structure::builder("viewer")
            .field("media.factory.access", true)
            .field("media.factory.construct", true)
            .build();
        factory.add_role_from_structure(&may);
        match options.get("--user") {
            Some(user) => auth.add_basic(&server::RTSPAuth::make_basic(user, &option("--password", "")), &role),
            None => auth.set_default_token(Some(&mut role.clone())),
        }
        rtsp.set_auth(Some(&auth));
    }
    rtsp.mount_points().expect("a new server has mount points").add_factory("/live", factory);
    let source = rtsp.attach(None).expect("the port is free");
    println!("rtsp://127.0.0.1:{port}/live");
    glib::MainLoop::new(None, false).run();
    source.remove();
}
