import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The engine's benchmark on Kafka Streams: the rules of the lifecycle service-cycle, a state per customer in RocksDB,
 * exactly_once_v2. It keeps no touchpoints and no history, answers no queries, and takes touchpoints as they come: no
 * identities, no late ones. Of each customer it knows the last 64 ids, to drop duplicates.
 *
 * Arguments: bootstrap servers, application id, input topic, output topic, state folder, threads.
 */
public final class StageCounter {
    private static final long DAY = 86_400_000_000L;
    private static final String[] STAGES = {"reach", "acquisition", "nurture", "retention", "advocacy"};
    private static final long[][] STALLS = {
        {14 * DAY}, {10 * DAY, 31 * DAY}, {21 * DAY, 66 * DAY}, {30 * DAY, 90 * DAY}, {60 * DAY, 180 * DAY}
    };
    private static final long[] LAPSES = {Long.MAX_VALUE, 90 * DAY, 180 * DAY, 365 * DAY, 365 * DAY};
    private static final int[] LAPSES_TO = {0, 0, 0, 0, 3};
    /** Types that end no stall. */
    private static final Set<String> PASSIVE = Set.of(
        "cancelled", "deal_lost", "email_bounced", "email_complained", "meeting_missed", "refunded", "unsubscribed");
    private static final int KNOWN = 64;
    private static final int COUNTERS = 6;

    public static void main(String[] arguments) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[1]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[4]);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Integer.parseInt(arguments[5]));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 128L << 20);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(
            Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("customers"), Serdes.String(), Serdes.ByteArray())
                .withCachingEnabled());
        builder.stream(arguments[2], Consumed.with(Serdes.String(), Serdes.ByteArray()))
            .process(Folding::new, "customers")
            .to(arguments[3], Produced.with(Serdes.String(), Serdes.String()));
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }

    /** A customer: stage, times, counters and the hashes of the last ids. */
    private static final class Customer {
        int stage = -1;
        int level;
        long enteredAt;
        long base;
        long number;
        final long[] times = new long[5];
        int timesUsed;
        final int[] counters = new int[COUNTERS];
        final long[] known = new long[KNOWN];
        int knownUsed;

        static Customer read(byte[] stored) {
            Customer customer = new Customer();
            if (stored == null) {
                return customer;
            }
            ByteBuffer bytes = ByteBuffer.wrap(stored);
            customer.stage = bytes.get();
            customer.level = bytes.get();
            customer.enteredAt = bytes.getLong();
            customer.base = bytes.getLong();
            customer.number = bytes.getLong();
            customer.timesUsed = bytes.get();
            for (int i = 0; i < customer.timesUsed; i++) {
                customer.times[i] = bytes.getLong();
            }
            for (int i = 0; i < COUNTERS; i++) {
                customer.counters[i] = bytes.get();
            }
            customer.knownUsed = bytes.get();
            for (int i = 0; i < customer.knownUsed; i++) {
                customer.known[i] = bytes.getLong();
            }
            return customer;
        }

        byte[] write() {
            ByteBuffer bytes = ByteBuffer.allocate(28 + 8 * timesUsed + COUNTERS + 8 * knownUsed);
            bytes.put((byte) stage).put((byte) level).putLong(enteredAt).putLong(base).putLong(number);
            bytes.put((byte) timesUsed);
            for (int i = 0; i < timesUsed; i++) {
                bytes.putLong(times[i]);
            }
            for (int i = 0; i < COUNTERS; i++) {
                bytes.put((byte) counters[i]);
            }
            bytes.put((byte) knownUsed);
            for (int i = 0; i < knownUsed; i++) {
                bytes.putLong(known[i]);
            }
            return bytes.array();
        }

        boolean knows(long hash) {
            for (int i = 0; i < knownUsed; i++) {
                if (known[i] == hash) {
                    return true;
                }
            }
            if (knownUsed == KNOWN) {
                System.arraycopy(known, 1, known, 0, KNOWN - 1);
                known[KNOWN - 1] = hash;
            } else {
                known[knownUsed++] = hash;
            }
            return false;
        }

        /** Whether `count` of the latest times, this one included, lie within 30 days. */
        boolean within(long now, int count) {
            if (timesUsed == count) {
                System.arraycopy(times, 1, times, 0, count - 1);
                timesUsed--;
            }
            times[timesUsed++] = now;
            return timesUsed == count && times[0] > now - 30 * DAY;
        }
    }

    private static final class Folding implements Processor<String, byte[], String, String> {
        private final JsonFactory json = new JsonFactory();
        private ProcessorContext<String, String> context;
        private KeyValueStore<String, byte[]> customers;
        private String id;
        private String type;
        private String direction;
        private String source;
        private long occurredAt;
        private double score;
        private double rating;
        private boolean machine;

        @Override
        public void init(ProcessorContext<String, String> processorContext) {
            context = processorContext;
            customers = context.getStateStore("customers");
        }

        @Override
        public void process(Record<String, byte[]> record) {
            try {
                parse(record.value());
            } catch (java.io.IOException error) {
                return;
            }
            Customer customer = Customer.read(customers.get(record.key()));
            if (customer.knows(hash(source + '\u001f' + id)) || machine) {
                return;
            }
            String key = record.key();
            if (customer.stage < 0) {
                move(customer, key, record, 0, "enter", "first touchpoint", occurredAt);
            } else {
                fire(customer, key, record);
            }
            int target = target(customer);
            boolean active = direction.equals("inbound") && !PASSIVE.contains(type);
            if (active && customer.level > 0) {
                emit(customer, key, record, "touchline.customer-recovered", STAGES[customer.stage], "", occurredAt);
                customer.level = 0;
            }
            if (target >= 0 && target != customer.stage) {
                move(customer, key, record, target, target > customer.stage ? "advance" : "regress", type, occurredAt);
            } else if (active) {
                customer.base = occurredAt;
            }
            customers.put(key, customer.write());
        }

        private void parse(byte[] value) throws java.io.IOException {
            score = rating = Double.NaN;
            machine = false;
            try (JsonParser parser = json.createParser(value)) {
                parser.nextToken();
                while (parser.nextToken() == JsonToken.FIELD_NAME) {
                    String name = parser.currentName();
                    JsonToken token = parser.nextToken();
                    switch (name) {
                        case "id" -> id = parser.getText();
                        case "type" -> type = parser.getText();
                        case "direction" -> direction = parser.getText();
                        case "source" -> source = parser.getText();
                        case "machine" -> machine = token == JsonToken.VALUE_TRUE;
                        case "occurred_at" -> {
                            Instant at = Instant.parse(parser.getText());
                            occurredAt = at.getEpochSecond() * 1_000_000 + at.getNano() / 1000;
                        }
                        case "properties" -> {
                            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                                String property = parser.currentName();
                                JsonToken inner = parser.nextToken();
                                if (inner.isNumeric() && property.equals("score")) {
                                    score = parser.getDoubleValue();
                                } else if (inner.isNumeric() && property.equals("rating")) {
                                    rating = parser.getDoubleValue();
                                } else {
                                    parser.skipChildren();
                                }
                            }
                        }
                        default -> parser.skipChildren();
                    }
                }
            }
        }

        /** The stalls and lapses that were due before this touchpoint. */
        private void fire(Customer customer, String key, Record<String, byte[]> record) {
            while (true) {
                long[] stalls = STALLS[customer.stage];
                long stallAt = customer.level < stalls.length ? customer.base + stalls[customer.level] : Long.MAX_VALUE;
                long lapse = LAPSES[customer.stage];
                long lapseAt = lapse == Long.MAX_VALUE ? lapse : customer.base + lapse;
                if (Math.min(stallAt, lapseAt) > occurredAt) {
                    return;
                }
                if (stallAt <= lapseAt) {
                    customer.level++;
                    emit(customer, key, record, "touchline.customer-stalled", STAGES[customer.stage], "", stallAt);
                } else {
                    move(customer, key, record, LAPSES_TO[customer.stage], "lapse", "time", lapseAt);
                }
            }
        }

        private int target(Customer customer) {
            int stage = customer.stage;
            int[] counters = customer.counters;
            int next = Math.min(stage + 1, 4);
            int previous = Math.max(stage - 1, 0);
            switch (type) {
                case "survey_answered":
                    if (score <= 3) {
                        return previous;
                    }
                    if (stage == 2 && score >= 7) {
                        return next;
                    }
                    if (stage == 3 && score >= 9) {
                        return ++counters[0] >= 2 ? next : -1;
                    }
                    return stage == 4 && score <= 6 ? previous : -1;
                case "cancelled", "deal_lost":
                    return 0;
                case "purchased":
                    return stage == 0 ? 2 : stage <= 2 ? next : -1;
                case "deal_won":
                    return stage == 0 ? 2 : stage == 1 ? next : -1;
                case "renewed", "upgraded":
                    return stage == 2 ? next : -1;
                case "demo_booked", "call_held", "meeting_held", "trial_started":
                    return stage == 0 ? next : -1;
                case "page_viewed", "ad_clicked":
                    return stage == 0 && customer.within(occurredAt, 3) ? next : -1;
                case "feature_used":
                    return stage == 2 && customer.within(occurredAt, 5) ? next : -1;
                case "email_clicked":
                    if (stage == 0) {
                        counters[1] = Math.min(2, counters[1] + 1);
                        return counters[1] == 2 && counters[2] == 1 ? next : -1;
                    }
                    return -1;
                case "content_downloaded", "form_submitted":
                    if (stage == 0) {
                        counters[2] = 1;
                        return counters[1] == 2 ? next : -1;
                    }
                    return -1;
                case "referral_made", "testimonial_given":
                    return stage == 3 ? next : -1;
                case "review_posted":
                    return stage == 3 && rating >= 4 ? next : -1;
                case "complaint_made":
                    return stage == 4 || stage == 3 && customer.within(occurredAt, 2) ? previous : -1;
                case "downgraded":
                    return stage == 4 ? previous : -1;
                default:
                    return -1;
            }
        }

        private void move(
                Customer customer, String key, Record<String, byte[]> record, int to, String kind, String reason, long at) {
            String from = customer.stage < 0 ? "" : STAGES[customer.stage];
            customer.stage = to;
            customer.level = 0;
            customer.enteredAt = at;
            customer.base = at;
            customer.timesUsed = 0;
            java.util.Arrays.fill(customer.counters, 0);
            emit(customer, key, record, "touchline.stage-changed:" + kind, from, reason, at);
        }

        private void emit(
                Customer customer, String key, Record<String, byte[]> record, String fact, String from, String reason,
                long at) {
            customer.number++;
            context.forward(new Record<>(
                key,
                "{\"fact\":\"" + fact + "\",\"customer_id\":\"" + key + "\",\"lifecycle\":\"service-cycle\",\"fact_no\":"
                    + customer.number + ",\"from_stage\":\"" + from + "\",\"to_stage\":\"" + STAGES[customer.stage]
                    + "\",\"reason\":\"" + reason + "\",\"touchpoint_id\":\"" + id + "\",\"occurred_at\":" + at + "}",
                record.timestamp()));
        }

        private static long hash(String text) {
            long hash = 0xcbf29ce484222325L;
            for (byte each : text.getBytes(StandardCharsets.UTF_8)) {
                hash = (hash ^ each) * 0x100000001b3L;
            }
            return hash;
        }
    }
}
