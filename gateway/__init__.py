"""Gateway: takes messages off MQTT, admits or refuses each, makes them durable, then acknowledges."""
