//! `config check`, which is `run` up to the first frame: each fault with its line, and nothing written.

use crate::support::camera::free_port;
use crate::support::certificate;
use crate::support::clips::make;
use crate::support::program::{PROGRAM, files_in, mostream, outcome};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

const CLIP: &str = "[[source]]\ninput = \"a.mp4\"\n";

/// The exit code, and the lines on stderr, of a file with this text.
fn check(folder: &Path, text: &str, more: &[&str]) -> (Option<i32>, Vec<String>) {
    std::fs::write(folder.join("c.toml"), text).unwrap();
    let arguments = [&["config", "check", "c.toml"], more].concat();
    let (code, said) = outcome(&mostream(folder, &arguments).output().unwrap());
    (code, said.lines().map(str::to_owned).collect())
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    make(at("a.mp4"), (160, 120), 3, true, "-c:v libx264 -pix_fmt yuv420p");
    let whole = std::fs::read(at("a.mp4")).unwrap();
    std::fs::write(at("broken.mp4"), &whole[..whole.len() / 4]).unwrap();
    std::fs::write(at("login"), "no colon\n").unwrap();
    std::fs::write(at("token"), "short\n").unwrap();
    std::fs::write(at("viewer"), "viewer:s3cret-word\n").unwrap();
    std::fs::write(at("guessed"), "viewer:s3cret\n").unwrap();
    certificate::make(folder.path());
    std::fs::create_dir(at("other")).unwrap();
    certificate::make(&at("other"));
    std::fs::write(at("old.jsonl"), "old\n").unwrap();
    folder
}

#[test]
fn what_a_run_would_stumble_over_is_told_with_its_line_and_as_the_run_tells_it() {
    let folder = folder();
    let camera = |more: &str| format!("[[source]]\nname = \"door\"\ninput = \"rtsp://127.0.0.1:1/x\"\n{more}");
    let served = |more: &str| format!("rtsp-out = \"127.0.0.1:0\"\n{more}{CLIP}");
    let pair = |certificate: &str, key: &str| format!("rtsp-out-cert = {certificate:?}\nrtsp-out-key = {key:?}\n");
    let zone = |name: &str, more: &str| {
        format!("[[source.zone]]\nname = {name:?}\npolygon = [[0, 0], [1, 0], [1, 1]]\n{more}")
    };
    let zoned = {
        let crossed = "[[source.zone]]\nname = \"b\"\npolygon = [[0, 0], [1, 1], [1, 0], [0, 1]]\n";
        CLIP.to_owned() + &zone("a", "") + crossed
    };
    let cases = [
        // Folders that are not there, or take nothing: /proc does not, from root either.
        ("records = \"none/r.jsonl\"\n".to_owned() + CLIP, 1, 4, "none/r.jsonl: there is no such folder"),
        ("records = \"/proc/r.jsonl\"\n".to_owned() + CLIP, 1, 4, "/proc/r.jsonl: nothing can be written"),
        (CLIP.to_owned() + "output = \"none/a.mp4\"\n", 3, 3 + 1, "none/a.mp4: there is no such folder"),
        (camera("output = \"/proc/{name}.mp4\"\n"), 4, 4, "/proc/door.mp4: nothing can be written"),
        (camera("output = \"/\"\n"), 4, 4, "is neither an .mp4 nor an .mkv"),
        // Outputs that would be written twice, or over what is read.
        (
            CLIP.to_owned()
                + "output = \"x{name}.mp4\"\nname = \"1\"\n\n[[source]]\nname = \"2\"\ninput = \"a.mp4\"\noutput = \"x1.mp4\"\n",
            9,
            2,
            "x1.mp4: several sources need {name}",
        ),
        ("output = \"{name}.mp4\"\nrecords = \"door.mp4\"\n".to_owned() + &camera(""), 2, 2, "door.mp4 cannot be both"),
        (CLIP.to_owned() + "output = \"./a.mp4\"\n", 3, 2, "./a.mp4 is the input"),
        (CLIP.to_owned() + "output = \"x.avi\"\n", 3, 4, "x.avi: is not an .mp4"),
        (camera("output = \"x.avi\"\n"), 4, 4, "x.avi: is neither an .mp4 nor an .mkv"),
        // What is read.
        (
            "web = true\nweb-token = \"token\"\n".to_owned() + CLIP,
            2,
            2,
            "token: its first line is no token of at least 8",
        ),
        // Who may watch over RTSP, and what proves the server.
        ("rtsp-out = \"0.0.0.0:0\"\n".to_owned() + CLIP, 1, 2, "(rtsp-out-credentials), or serve 127.0.0.1 only"),
        ("rtsp-out-credentials = \"viewer\"\n".to_owned() + CLIP, 1, 2, "nothing is served over RTSP (rtsp-out)"),
        (served("rtsp-out-credentials = \"none\"\n"), 2, 3, "none: No such file"),
        (served("rtsp-out-credentials = \"login\"\n"), 2, 3, "login: its first line is not USER:PASSWORD"),
        (served("rtsp-out-credentials = \"guessed\"\n"), 2, 2, "guessed: its password has fewer than 8 characters"),
        (served("rtsp-out-cert = \"certificate.pem\"\n"), 2, 2, "name the other, too (rtsp-out-key)"),
        (served("rtsp-out-key = \"key.pem\"\n"), 2, 2, "name the other, too (rtsp-out-cert)"),
        (served(&pair("certificate.pem", "none.pem")), 2, 3, "none.pem"),
        (served(&pair("none.pem", "key.pem")), 2, 3, "none.pem"),
        (served(&pair("certificate.pem", "other/key.pem")), 2, 3, "certificate.pem: is other/key.pem its key?"),
        (served(&pair("key.pem", "key.pem")), 2, 3, "No PEM-encoded certificate found"),
        (served(&pair("certificate.pem", "certificate.pem")), 2, 3, "No PEM-encoded private key found"),
        (
            "records = \"key.pem\"\n".to_owned() + &served(&pair("certificate.pem", "key.pem")),
            1,
            2,
            "key.pem is the input",
        ),
        (camera("credentials = \"none\"\n"), 4, 3, "none: No such file"),
        ("credentials = \"login\"\n\n".to_owned() + &camera(""), 1, 3, "login: its first line is not USER:PASSWORD"),
        ("model = \"none.safetensors\"\n".to_owned() + CLIP, 1, 5, "none.safetensors"),
        ("groups = \"none.json\"\n".to_owned() + CLIP, 1, 3, "none.json"),
        (CLIP.to_owned() + "[[source]]\n\ninput = \"none.mp4\"\n", 5, 3, "none.mp4: there is no such file"),
        (camera("push = \"ftp://x\"\n"), 4, 2, "ftp://x"),
        (camera("decoder = \"nosuchdec\"\n"), 4, 6, "nosuchdec"),
        (
            "[[source]]\nname = \"x\"\ninput = \"rtsp://me:s3cret@127.0.0.1:99999/x\"\n".to_owned(),
            3,
            3,
            "its port is no number",
        ),
        (camera("") + &camera(""), 5, 2, "the source name \"door\" is there twice"),
        ("[[source]]\nname = \"a/b\"\ninput = \"a.mp4\"\n".to_owned(), 2, 2, "the source name \"a/b\""),
        // What the file itself cannot say.
        (CLIP.to_owned() + "evry = 2\n", 3, 2, "evry: there is no such key"),
        (CLIP.to_owned() + "every = \"often\"\n", 3, 2, "often"),
        (CLIP.to_owned() + "output = [\"a.mp4\", \"b.mp4\"]\n", 3, 2, "output: invalid type: sequence"),
        (CLIP.to_owned() + "output = { file = \"a.mp4\" }\n", 3, 2, "output: invalid type: map"),
        (CLIP.to_owned() + "[source.output]\nfile = \"a.mp4\"\n", 3, 2, "output: invalid type: map"),
        (CLIP.to_owned() + "zones = [[0, 0], [1, 1]]\n", 3, 2, "zones: there is no such key"),
        ("records = \"r.jsonl\"\n".to_owned(), 1, 2, "there is no [[source]]"),
        // Zones and areas, each by its own line.
        (zoned, 6, 2, "zone 2: polygon: the polygon crosses itself"),
        (
            CLIP.to_owned() + "[[source.mask]]\npolygon = [[0, 0], [1, 1]]\n",
            3,
            2,
            "mask 1: polygon: a polygon has 3 to",
        ),
        (CLIP.to_owned() + "[[source.mask]]\npolygon = [[0, 0], [1, 0], [1, 1.5]]\n", 3, 2, "[1.0, 1.5] is outside"),
        (CLIP.to_owned() + "[[source.line]]\nname = \"x\"\n", 3, 2, "line 1: missing field `points`"),
        (CLIP.to_owned() + "[source.zone]\nname = \"x\"\n", 3, 2, "zone: invalid type: map"),
        (
            CLIP.to_owned() + &zone("a", "colour = \"red\"\n"),
            3,
            2,
            "zone 1: unknown field `colour`, expected one of `name`",
        ),
        (CLIP.to_owned() + &zone("a", "") + &zone("a", ""), 6, 2, "zone 2: the name \"a\" is there twice"),
        (CLIP.to_owned() + &zone("a b", ""), 3, 2, "zone 1: the name \"a b\" is not 1 to 64 letters"),
        (
            zone("a", "share = 1.5\n").replace("source.", "") + CLIP,
            1,
            2,
            "zone 1: share: expected a share from 0 to 1, not 1.5",
        ),
        (CLIP.to_owned() + &zone("a", "min-size = -0.1\n"), 3, 2, "min-size: expected a share from 0 to 1, not -0.1"),
        (CLIP.to_owned() + &zone("a", "min-age = -1\n"), 3, 2, "min-age: expected 0 or more seconds, not -1"),
        (CLIP.to_owned() + &zone("a", "stay = \"long\"\n"), 3, 2, "zone 1: stay: invalid type: string \"long\""),
        (
            CLIP.to_owned() + &zone("a", "") + &zone("b", "schedule = \"8:00-8:00 UTC\"\n"),
            6,
            2,
            "zone 2: schedule: the schedule \"8:00-8:00 UTC\": 8:00-8:00 never holds",
        ),
        (
            CLIP.to_owned() + &zone("a", "schedule = \"22:00-06:00 Europe/Berln\"\n"),
            3,
            2,
            "there is no time zone \"Europe/Berln\" (near it: Europe/Berlin",
        ),
        (
            "mask = [\n{ polygon = [[0, 0], [1, 0], [1, 1]] },\n{ polygon = 3 },\n]\n".to_owned() + CLIP,
            3,
            2,
            "mask 2: ",
        ),
        ("feature = \"attention\"\n".to_owned() + CLIP, 1, 2, "attention"),
    ];
    let before = files_in(folder.path());
    for (text, line, code, word) in cases {
        let (got, said) = check(folder.path(), &text, &[]);
        assert_eq!(said.len(), 1, "{text}: {said:?}");
        let of_line = format!("mostream: c.toml:{line}: ");
        assert!(
            got == Some(code) && said[0].starts_with(&of_line) && said[0].contains(word),
            "{text}: {got:?} {said:?}"
        );
        assert!(!said[0].contains("s3cret"), "{said:?}");
        // The same of who runs it.
        let ran = outcome(&mostream(folder.path(), &["run", "--config", "c.toml"]).output().unwrap());
        assert_eq!(ran, (Some(code), format!("{}\n", said[0])), "{text}");
    }
    let after = files_in(folder.path());
    assert_eq!(Vec::from_iter(after.iter().filter(|name| *name != "c.toml")), Vec::from_iter(&before));
}

#[test]
fn every_fault_is_told_at_once_and_nothing_is_written() {
    let folder = folder();
    let text = "records = \"old.jsonl\"\nweb = true\nweb-token = \"token\"\nrtsp-out = \"192.0.2.1:8554\"\nrtsp-out-credentials = \"viewer\"\n\n[[source]]\nname = \"one\"\n\
                input = \"broken.mp4\"\noutput = \"none/{name}.mp4\"\n\n[[source]]\nname = \"two\"\ninput = \"none.mp4\"\n\n\
                [[source]]\nname = \"three\"\ninput = \"rtsp://127.0.0.1:1/x\"\ncredentials = \"login\"\n\n\
                [[source]]\nname = \"four\"\ninput = \"broken.mp4\"\n";
    let (code, said) = check(folder.path(), text, &[]);
    let lines = Vec::from_iter(said.iter().map(|line| line.split(':').nth(2).unwrap().parse::<usize>().unwrap()));
    assert_eq!((code, lines), (Some(2), vec![3, 4, 10, 14, 19, 23]), "{said:?}");
    assert_eq!(std::fs::read_to_string(folder.path().join("old.jsonl")).unwrap(), "old\n");
    let names = [
        "a.mp4",
        "broken.mp4",
        "c.toml",
        "certificate.pem",
        "guessed",
        "key.pem",
        "login",
        "old.jsonl",
        "other",
        "token",
        "viewer",
    ];
    assert_eq!(files_in(folder.path()), names);
}

#[test]
fn a_file_that_runs_has_no_fault_and_cameras_are_asked_where_that_is_wanted() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    // The run that is to have the file is at its address.
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let head = format!("records = \"old.jsonl\"\nsize = \"64x48\"\nrtsp-out = \"127.0.0.1:{}\"\n", free_port());
    let good = head.clone() + CLIP + "output = \"out.mp4\"\n";
    let modified = |name: &str| std::fs::metadata(at(name)).unwrap().modified().unwrap();
    let (before, names) = (modified("old.jsonl"), files_in(folder.path()));
    assert_eq!(check(folder.path(), &good, &[]), (Some(0), vec![]));
    let (code, said) = check(folder.path(), &format!("web = \"{address}\"\n{good}"), &[]);
    assert!(code == Some(0) && said.len() == 1 && said[0].contains(&format!("{address} is in use")), "{said:?}");
    assert_eq!((modified("old.jsonl"), files_in(folder.path()).len()), (before, names.len() + 1), "but for c.toml");

    let gone = format!("[[source]]\nname = \"gone\"\ninput = \"rtsp://127.0.0.1:{}/x\"\n", free_port());
    let there = "[[source]]\nname = \"there\"\ninput = \"videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=48 ! \
                 appsink name=frames\"\n";
    let text = head + there + &gone;
    assert_eq!(check(folder.path(), &text, &[]), (Some(0), vec![]));
    let (code, said) = check(folder.path(), &text, &["--connect"]);
    assert!(
        code == Some(3) && said.len() == 1 && said[0].starts_with("mostream: c.toml:9: gone: "),
        "{code:?} {said:?}"
    );
}

#[test]
fn what_a_picture_is_parted_into_is_printed_and_a_schedule_without_a_clock_is_told_once() {
    let folder = folder();
    let text = "records = \"r.jsonl\"\n\n[[mask]]\npolygon = [[0.0,0.0],[0.1,0.0],[0.1,0.2]]\n\n[[source]]\ninput = \"a.mp4\"\nmask = []\n\n[[source.line]]\n\
                name = \"door\"\npoints = [[0.5,0.1],[0.5,0.9]]\n\n[[source.zone]]\nmin-age = 1.5\nname = \"night\"\n\
                polygon = [[0.0,0.0],[1.0,0.0],[1.0,1.0]]\nschedule = \"sat,sun 22:00-06:00 UTC\"\n";
    std::fs::write(folder.path().join("c.toml"), text).unwrap();
    let printed = mostream(folder.path(), &["run", "--config", "c.toml", "--print-config"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&printed.stdout), text);
    let (code, said) = outcome(&mostream(folder.path(), &["run", "--config", "c.toml"]).output().unwrap());
    let told = said.matches("a.mp4: nobody knows when its frames were taken: schedules are taken to hold").count();
    assert_eq!((code, told), (Some(0), 1), "{said}");
}

#[test]
fn a_file_without_end_or_of_no_sense_is_refused_before_it_is_read() {
    let folder = folder();
    let large = std::fs::File::create(folder.path().join("large.toml")).unwrap();
    large.set_len(2 << 30).unwrap();
    std::fs::write(folder.path().join("latin.toml"), b"records = \"\xe9\"").unwrap();
    let login = "credentials = \"large.toml\"\nrecords = \"r.jsonl\"\n[[source]]\ninput = \"rtsp://127.0.0.1:9/x\"\n";
    std::fs::write(folder.path().join("login.toml"), login).unwrap();
    for (file, why) in [
        ("/dev/zero", "more than 16777216 bytes"),
        ("large.toml", "2147483648 bytes (expected at most 16777216)"),
        ("latin.toml", "not UTF-8"),
        ("login.toml", "2147483648 bytes (expected at most 65536)"),
    ] {
        // 1 GB of address space: what is not read takes none of it.
        let ran = Command::new("bash")
            .args(["-c", "ulimit -v 1000000; exec \"$0\" config check \"$1\"", PROGRAM, file])
            .current_dir(&folder)
            .output()
            .unwrap();
        let (code, said) = outcome(&ran);
        assert!(
            matches!(code, Some(2 | 3)) && said.lines().count() == 1 && said.contains(why),
            "{file}: {code:?} {said}"
        );
    }
}
