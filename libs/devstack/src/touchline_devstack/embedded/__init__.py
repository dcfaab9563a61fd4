"""The embedded servers: Apache Kafka on the JRE of a wheel, PostgreSQL from a wheel, both of them the real thing."""
