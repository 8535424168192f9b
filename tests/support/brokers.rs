//! Brokers from Debian, each on a port and in a folder of its own, which end with the test.

use super::program::until;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// A port that nobody has.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program of Debian's, of which some are where only administrators look.
pub fn debian(program: &str) -> Command {
    let found =
        ["/usr/sbin", "/usr/bin"].iter().map(|folder| Path::new(folder).join(program)).find(|path| path.exists());
    Command::new(found.unwrap_or_else(|| panic!("there is no {program}: run tools/setup.sh")))
}

/// A broker that can be killed and started again with what it had on its disk.
pub struct Broker {
    pub port: u16,
    pub folder: TempDir,
    program: &'static str,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Broker {
    /// The arguments are made from its folder and port.
    fn new(program: &'static str, folder: TempDir, arguments: impl Fn(&Path, u16) -> Vec<String>) -> Self {
        let port = free_port();
        let arguments = arguments(folder.path(), port);
        let mut broker = Self { port, folder, program, arguments, child: None };
        broker.start();
        broker
    }

    /// Starts it, and waits until it listens.
    pub fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let errors = log.try_clone().unwrap();
        let mut command = debian(self.program);
        let child = command
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        self.child = Some(child.spawn().unwrap());
        until(&format!("{} listens: {}", self.program, self.folder.path().display()), || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// As the power goes.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it told its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// MQTT. `{folder}` in the lines of its configuration is the folder.
pub fn mosquitto(folder: TempDir, lines: &str) -> Broker {
    Broker::new("mosquitto", folder, |folder, port| {
        let user = if std::env::var("USER").is_ok_and(|user| user != "root") { "" } else { "user root\n" };
        let lines = lines.replace("{folder}", folder.to_str().unwrap());
        std::fs::write(folder.join("conf"), format!("{user}log_dest stdout\nlistener {port} 127.0.0.1\n{lines}\n"))
            .unwrap();
        vec!["-c".into(), folder.join("conf").to_str().unwrap().into()]
    })
}

/// A program that says what it reads from a broker, a line for each letter.
pub struct Reader {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Reader {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (said, output) = (lines.clone(), child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                said.lock().unwrap().push(line);
            }
        });
        Self { child, lines }
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authority (`ca.pem`), a server on 127.0.0.1 (`server.pem`, `server.key`), a client (`client.pem`, `client.key`), and an authority that
/// vouches for neither (`other.pem`).
pub fn certificates(folder: &Path) {
    let openssl = |arguments: &[&str]| {
        let made = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    for authority in ["ca", "other"] {
        let (key, pem, name) = (format!("{authority}.key"), format!("{authority}.pem"), format!("/CN={authority}"));
        openssl(&[&["req", "-x509"], &curve[..], &["-keyout", &key, "-out", &pem, "-subj", &name]].concat());
    }
    for (name, extension) in [("server", "subjectAltName=IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth")] {
        let (key, request, pem) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        std::fs::write(folder.join("extension"), extension).unwrap();
        openssl(
            &[&["req"], &curve[..], &["-keyout", &key, "-out", &request, "-subj", &format!("/CN={name}")]].concat(),
        );
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            &pem,
            "-extfile",
            "extension",
        ]);
    }
}

/// NATS. `{folder}` in its configuration is the folder.
pub fn nats(folder: TempDir, configuration: &str) -> Broker {
    Broker::new("nats-server", folder, |folder, port| {
        let lines = configuration.replace("{folder}", folder.to_str().unwrap());
        let text =
            format!("listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{}/store\" }}\n{lines}\n", folder.display());
        std::fs::write(folder.join("conf"), text).unwrap();
        vec!["-c".into(), folder.join("conf").to_str().unwrap().into()]
    })
}

/// Redis, which writes everything to its disk before it says so. `{port}` and `{folder}` are what it has.
pub fn redis(folder: TempDir, lines: &str) -> Broker {
    Broker::new("redis-server", folder, |folder, port| {
        let lines = lines.replace("{folder}", folder.to_str().unwrap()).replace("{port}", &port.to_string());
        let listens = if lines.contains("tls-port") { String::new() } else { format!("port {port}\n") };
        let text = format!(
            "bind 127.0.0.1\n{listens}dir {}\nappendonly yes\nappendfsync always\nsave \"\"\n{lines}\n",
            folder.display()
        );
        std::fs::write(folder.join("conf"), text).unwrap();
        vec![folder.join("conf").to_str().unwrap().into()]
    })
}
