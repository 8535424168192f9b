//! What is logged, heard by the test that makes it.

use std::fmt::Debug;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

struct Heard<F>(F);

impl<S: Subscriber, F: Fn(Level, &str) + 'static> Layer<S> for Heard<F> {
    // What a trace is made of is not said.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message::default();
        event.record(&mut message);
        (self.0)(*event.metadata().level(), &message.0);
    }
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// Runs `work`; what it and the threads that it begins log goes to `hear`.
pub fn heard<R>(hear: impl Fn(Level, &str) + Send + Sync + 'static, work: impl FnOnce() -> R) -> R {
    let log = Dispatch::new(tracing_subscriber::registry().with(Heard(hear)));
    tracing::dispatcher::with_default(&log, work)
}
