//! MQTT 3.1.1, as its library has it.

use super::{Answer, BATCH, Begun, Ended, KEEP_ALIVE, Letter, Publisher, REQUESTS, Setup, Target, Work};
use crate::broker::connection::why;
use crate::broker::words;
use rumqttc_v4::{
    AsyncClient, Broker, ConnectReturnCode, ConnectionError, Event, Incoming, LastWill, MqttOptions, PublishOptions,
    QoS, StateError,
};
use tokio::sync::oneshot;

struct Client(AsyncClient);

pub fn begin(setup: Setup) -> Result<Begun, String> {
    // The connection is there already: no host is asked for.
    let mut options = MqttOptions::new(setup.id, Broker::tcp("", 0));
    options.set_clean_session(true).set_keep_alive(KEEP_ALIVE);
    options.set_request_channel_capacity(REQUESTS).set_max_request_batch(BATCH);
    if let Some((user, password)) = setup.user {
        options.set_credentials(user, password);
    }
    if let Some(topic) = setup.availability {
        options.set_last_will(LastWill::new(topic, "offline", QoS::AtLeastOnce, true));
    }
    let connector = Setup::connector(setup.stream);
    options.set_socket_connector(move |_, _| std::future::ready(connector()));
    let (client, mut events) = AsyncClient::builder(options).try_build().map_err(words)?;
    let (up, is_in) = oneshot::channel();
    let (watch, hearer) = (setup.watch, client.clone());
    let work = tokio::spawn(async move {
        let mut up = Some(up);
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                    if let Some(watch) = &watch {
                        watch.began();
                        let _ = hearer.try_subscribe(watch.topic.as_str(), QoS::AtLeastOnce);
                    }
                    let _ = up.take().map(|up| up.send(()));
                }
                Ok(Event::Incoming(Incoming::Publish(letter))) => {
                    watch.iter().for_each(|watch| watch.heard(&letter.topic, &letter.payload));
                }
                Ok(_) => {}
                Err(error) => return ended(&error, &setup.target),
            }
        }
    });
    Ok(Begun { client: Box::new(Client(client)), is_in, work })
}

impl Publisher for Client {
    fn publish(&self, letter: &Letter) -> Result<Work<'static, Result<(), Answer>>, Answer> {
        let options = PublishOptions::at_least_once().retain(letter.retain);
        let sent = self.0.try_publish_tracked(letter.topic.as_str(), letter.body.clone(), options);
        let notice = sent.map_err(|error| match error {
            rumqttc_v4::ClientError::InvalidRequest(_) => {
                Answer::Never("a topic to publish to has no + and no #".to_owned())
            }
            _ => Answer::Ended,
        })?;
        Ok(Box::pin(async move { notice.wait_completion_async().await.map_err(|_| Answer::Ended) }))
    }

    fn disconnect(&self) {
        let _ = self.0.try_disconnect();
    }
}

fn ended(error: &ConnectionError, target: &Target) -> Ended {
    match error {
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
        ) => Ended::NotLetIn,
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            Ended::Because("it ended the connection".to_owned())
        }
        // This one names no source.
        ConnectionError::MqttState(StateError::Deserialization(error)) => Ended::Because(why(error, target)),
        error => Ended::Because(why(error, target)),
    }
}
