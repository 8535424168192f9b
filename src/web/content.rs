//! What an answer holds: some bytes, or more as they come.

use super::room::Following;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;

/// The body of an answer.
pub enum Content {
    Whole(Bytes),
    Live {
        parts: Receiver<Bytes>,
        /// Makes the parts; ends with the connection.
        _maker: JoinSet<()>,
        _place: Following,
    },
}

impl Content {
    /// What `make` sends, one part at a time: a slow reader makes it wait.
    pub fn live<M: Future<Output = ()> + Send + 'static>(
        place: Following,
        make: impl FnOnce(Sender<Bytes>) -> M,
    ) -> Self {
        let (sender, parts) = channel(1);
        let mut maker = JoinSet::new();
        maker.spawn(make(sender));
        Self::Live { parts, _maker: maker, _place: place }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Live { parts, .. } => parts.poll_recv(context).map(|part| part.map(|part| Ok(Frame::data(part)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Live { .. } => SizeHint::default(),
        }
    }
}
