"""The live backend: frames over MQTT."""
