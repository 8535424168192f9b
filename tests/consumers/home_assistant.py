"""A device of `run --home-assistant`, taken by Home Assistant's own MQTT integration: a line for each entity; 1 where one is refused.

Its newest version for this Python is older than discovery by device, so the envelope's keys are held to the documented ones, and each entity to the
schema of its platform, which knows every key."""

import importlib
import json
import pathlib
import sys

import voluptuous
from homeassistant.components.mqtt import abbreviations, mixins

KEYS = {"dev", "o", "cmps"}


def full(table, names):
    """The keys that Home Assistant reads for those that are written."""
    return {names.get(key, key): value for key, value in table.items()}


device = json.loads(pathlib.Path(__file__).with_name("home_assistant.json").read_text())
refused = set(device) ^ KEYS
of = full(device["dev"], abbreviations.DEVICE_ABBREVIATIONS)
mixins.MQTT_ENTITY_DEVICE_INFO_SCHEMA(of)
mixins.MQTT_ORIGIN_INFO_SCHEMA(full(device["o"], abbreviations.ORIGIN_ABBREVIATIONS))
for key, entity in device["cmps"].items():
    platform = entity["p"]
    entity = full({name: value for name, value in entity.items() if name != "p"}, abbreviations.ABBREVIATIONS)
    schema = importlib.import_module(f"homeassistant.components.mqtt.{platform}").PLATFORM_SCHEMA_MODERN
    try:
        schema(entity | {"device": of})
        print(f"Home Assistant: {platform} {key}: taken")
    except voluptuous.Invalid as error:
        refused.add(key)
        print(f"Home Assistant: {platform} {key}: {error}")
sys.exit(bool(refused))
