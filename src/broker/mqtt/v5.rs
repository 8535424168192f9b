//! MQTT 5, as its library has it.

use super::{Answer, BATCH, Begun, Ended, KEEP_ALIVE, Letter, Publisher, REQUESTS, Setup, Target, Work};
use crate::broker::connection::why;
use crate::broker::words;
use rumqttc_v5::{
    AsyncClient, Broker, ConnectReturnCode, ConnectionError, Event, Incoming, LastWill, MqttOptions, PubAckReason,
    Publish, PublishNoticeError, PublishOptions, PublishProperties, QoS, StateError,
};
use std::sync::{Arc, OnceLock};
use tokio::sync::oneshot;

struct Client {
    client: AsyncClient,
    /// Bytes of a packet, once the broker has said it.
    largest: Arc<OnceLock<u32>>,
}

pub fn begin(setup: Setup) -> Result<Begun, String> {
    // The connection is there already: no host is asked for.
    let mut options = MqttOptions::new(setup.id, Broker::tcp("", 0));
    options.set_clean_start(true).set_keep_alive(KEEP_ALIVE);
    options.set_request_channel_capacity(REQUESTS).set_max_request_batch(BATCH);
    if let Some((user, password)) = setup.user {
        options.set_credentials(user, password);
    }
    if let Some(topic) = setup.availability {
        options.set_last_will(LastWill::new(topic, "offline", QoS::AtLeastOnce, true, None));
    }
    let connector = Setup::connector(setup.stream);
    options.set_socket_connector(move |_, _| std::future::ready(connector()));
    let (client, mut events) = AsyncClient::builder(options).try_build().map_err(words)?;
    let (up, is_in) = oneshot::channel();
    let largest = Arc::new(OnceLock::new());
    let said = largest.clone();
    let (watch, hearer) = (setup.watch, client.clone());
    let work = tokio::spawn(async move {
        let mut up = Some(up);
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Incoming::ConnAck(welcome))) => {
                    if let Some(most) = welcome.properties.and_then(|properties| properties.max_packet_size) {
                        let _ = said.set(most);
                    }
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
    Ok(Begun { client: Box::new(Client { client, largest }), is_in, work })
}

impl Publisher for Client {
    fn publish(&self, letter: &Letter) -> Result<Work<'static, Result<(), Answer>>, Answer> {
        let properties = PublishProperties {
            content_type: (!letter.content_type.is_empty()).then(|| letter.content_type.clone()),
            user_properties: letter.headers.clone(),
            ..PublishProperties::default()
        };
        let mut packet =
            Publish::new(letter.topic.as_str(), QoS::AtLeastOnce, letter.body.clone(), Some(properties.clone()));
        packet.pkid = 1;
        let largest = self.largest.get().copied().unwrap_or(u32::MAX);
        if packet.size() as u64 > u64::from(largest) {
            return Err(Answer::Never(format!("it has {} bytes (expected at most {largest})", packet.size())));
        }
        let options = PublishOptions::at_least_once().retain(letter.retain).properties(properties);
        let sent = self.client.try_publish_tracked(letter.topic.as_str(), packet.payload, options);
        let notice = sent.map_err(|error| match error {
            rumqttc_v5::ClientError::InvalidRequest(_) => {
                Answer::Never("a topic to publish to has no + and no #".to_owned())
            }
            _ => Answer::Ended,
        })?;
        Ok(Box::pin(async move {
            notice.wait_completion_async().await.map_err(|error| match error {
                PublishNoticeError::V5PubAck(
                    reason @ (PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid),
                ) => Answer::Never(format!("{reason:?}")),
                PublishNoticeError::V5PubAck(reason) => Answer::NotNow(format!("{reason:?}")),
                PublishNoticeError::RetainNotSupported => Answer::Never(error.to_string()),
                _ => Answer::Ended,
            })
        }))
    }

    fn disconnect(&self) {
        let _ = self.client.try_disconnect();
    }
}

fn ended(error: &ConnectionError, target: &Target) -> Ended {
    match error {
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
        ) => Ended::NotLetIn,
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
            Ended::Because(format!("it ended the connection: {reason_code:?}"))
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            Ended::Because("it ended the connection".to_owned())
        }
        // This one names no source.
        ConnectionError::MqttState(StateError::Deserialization(error)) => Ended::Because(why(error, target)),
        error => Ended::Because(why(error, target)),
    }
}
