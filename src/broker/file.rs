//! Files, named pipes and standard output (`file:PATH`, `file:-`), a line for each letter. Acknowledged means that the system has taken the
//! line: a file's is on its disk when the system puts it there, and a pipe's is for whoever reads.
//!
//! A file is opened anew for each delivery, so that it may be moved away. Who does not read holds up its own thread, and nobody else: what is
//! being written is waited for as long as any broker, and asked for again the next time.

use super::{Client, Failure, Letter, Target, Work, address, within};
use std::fs::{File as Disk, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Bytes of a write, where a line is not longer.
const PIECE: usize = 64 << 10;

pub struct File {
    /// None is standard output.
    path: Option<PathBuf>,
    patience: Duration,
    /// What was not written in time.
    late: Option<Writing>,
    /// The thread that writes, which takes one delivery after the other; none before the first.
    writer: Option<SyncSender<Job>>,
    /// What ends in the middle of a line; the next one begins after it.
    is_torn: Arc<AtomicBool>,
}

type Job = Box<dyn FnOnce() + Send>;

/// Lines on their way.
struct Writing {
    /// Of their letters.
    ids: Vec<String>,
    progress: Arc<Progress>,
    done: oneshot::Receiver<io::Result<()>>,
}

#[derive(Default)]
struct Progress {
    /// Lines that are written, and that nobody was told of.
    lines: AtomicUsize,
    /// Nothing is to be begun any more.
    is_over: AtomicBool,
}

impl File {
    pub fn new(target: &Target) -> Result<Self, String> {
        let path = target.url.strip_prefix("file:").unwrap_or_default();
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() {
            return Err(format!("{}: expected file:PATH, or file:- for standard output", address::shown(&target.url)));
        }
        let path = (path != "-").then(|| PathBuf::from(path));
        Ok(Self { path, patience: target.timeout, late: None, writer: None, is_torn: Arc::default() })
    }

    fn shown(&self) -> String {
        self.path.as_ref().map_or("standard output".to_owned(), |path| path.display().to_string())
    }

    fn away(&self, why: impl std::fmt::Display) -> Failure {
        Failure::Away(format!("{}: {why}", self.shown()))
    }

    fn begin(&mut self, letters: &[Letter], lines: Vec<Vec<u8>>) -> Result<Writing, Failure> {
        let ids = letters.iter().take(lines.len()).map(|letter| letter.id.clone()).collect();
        let (tell, done) = oneshot::channel();
        let progress = Arc::new(Progress::default());
        let (path, is_torn, counted) = (self.path.clone(), self.is_torn.clone(), progress.clone());
        let write = move || {
            // Nobody waits for it any more where it cannot be told.
            let _ = tell.send(write(path.as_deref(), &lines, &is_torn, &counted));
        };
        self.work(Box::new(write)).map_err(|error| self.away(format!("its thread does not start: {error}")))?;
        Ok(Writing { ids, progress, done })
    }

    /// On the thread that writes, or another where that one has ended.
    fn work(&mut self, mut job: Job) -> io::Result<()> {
        if let Some(writer) = &self.writer {
            match writer.try_send(job) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => return Err(ErrorKind::WouldBlock.into()),
                Err(TrySendError::Disconnected(back)) => job = back,
            }
        }
        let (writer, jobs) = sync_channel::<Job>(1);
        let work = move || {
            job();
            jobs.into_iter().for_each(|job| job());
        };
        std::thread::Builder::new().name("file".to_owned()).spawn(work)?;
        self.writer = Some(writer);
        Ok(())
    }

    /// How many more of the lines are written, and whether it is over.
    async fn wait(&mut self, mut writing: Writing) -> (usize, Result<(), Failure>) {
        let done = timeout(self.patience, &mut writing.done).await;
        if done.is_err() {
            writing.progress.is_over.store(true, Ordering::SeqCst);
        }
        let lines = writing.progress.lines.swap(0, Ordering::SeqCst);
        writing.ids.drain(..lines);
        let outcome = match done {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) if error.kind() == ErrorKind::BrokenPipe => Err(self.away("nobody reads it any more")),
            Ok(Ok(Err(error))) => Err(self.away(error)),
            Ok(Err(_)) => Err(self.away("it cannot be written")),
            Err(_) => {
                self.late = Some(writing);
                Err(self.away(format!("nothing was written {}: does anybody read it?", within(self.patience))))
            }
        };
        (lines, outcome)
    }

    async fn hand_over(&mut self, letters: &[Letter], acknowledged: &mut usize) -> Result<(), Failure> {
        if let Some(late) = self.late.take() {
            let is_same = late.ids.iter().zip(letters).all(|(id, letter)| *id == letter.id);
            let (lines, outcome) = self.wait(late).await;
            if is_same {
                *acknowledged += lines.min(letters.len());
            }
            if self.late.is_some() {
                return outcome;
            }
        }
        let rest = &letters[*acknowledged..];
        let lines: Vec<_> = rest.iter().map_while(line).collect();
        let wrong = rest.get(lines.len());
        if !lines.is_empty() {
            let writing = self.begin(rest, lines)?;
            let (lines, outcome) = self.wait(writing).await;
            *acknowledged += lines;
            outcome?;
        }
        let refused = |letter: &Letter| {
            Failure::Refused(format!("{}: what goes to {:?} is no line of text", self.shown(), letter.topic))
        };
        wrong.map_or(Ok(()), |letter| Err(refused(letter)))
    }
}

impl Client for File {
    fn hand_over<'a>(
        &'a mut self,
        letters: &'a [Letter],
        acknowledged: &'a mut usize,
    ) -> Work<'a, Result<(), Failure>> {
        Box::pin(self.hand_over(letters, acknowledged))
    }

    /// Opens it, which makes a file that is not there.
    fn check(&mut self) -> Work<'_, Result<(), Failure>> {
        Box::pin(async move {
            let writing = self.begin(&[], Vec::new())?;
            self.wait(writing).await.1
        })
    }

    fn close(&mut self) -> Work<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The body as a line; in JSON, line ends are only where spaces may be. None where it is no text, or several lines.
fn line(letter: &Letter) -> Option<Vec<u8>> {
    let is_json = letter.content_type.ends_with("json");
    let text = std::str::from_utf8(&letter.body).ok()?;
    let line = if is_json { text.replace(['\n', '\r'], " ") } else { text.to_owned() };
    (!line.contains(['\n', '\r'])).then(|| (line + "\n").into_bytes())
}

fn write(path: Option<&Path>, lines: &[Vec<u8>], is_torn: &AtomicBool, progress: &Progress) -> io::Result<()> {
    let mut output: Box<dyn Write> = match path {
        None => Box::new(io::stdout().lock()),
        Some(path) => Box::new(open(path, is_torn)?),
    };
    let mut rest = lines;
    while !rest.is_empty() && !progress.is_over.load(Ordering::SeqCst) {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|line| {
            bytes += line.len();
            bytes <= PIECE
        });
        let (now, later) = rest.split_at(fitting.count().max(1));
        let begin = if is_torn.swap(true, Ordering::SeqCst) { &b"\n"[..] } else { b"" };
        output.write_all(&[begin, &now.concat()].concat())?;
        output.flush()?;
        is_torn.store(false, Ordering::SeqCst);
        progress.lines.fetch_add(now.len(), Ordering::SeqCst);
        rest = later;
    }
    Ok(())
}

/// For what comes after all that is there.
fn open(path: &Path, is_torn: &AtomicBool) -> io::Result<Disk> {
    let is_pipe = std::fs::metadata(path).is_ok_and(|about| !about.is_file());
    let mut file = OpenOptions::new().append(true).read(!is_pipe).create(true).open(path)?;
    if !is_pipe {
        let mut last = [b'\n'];
        if file.seek(SeekFrom::End(-1)).is_ok() {
            file.read_exact(&mut last)?;
        }
        is_torn.store(last != [b'\n'], Ordering::SeqCst);
    }
    Ok(file)
}
