import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.io.BinaryDecoder;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

// A service that knows nothing of Annals: the Kafka client and Avro of Apache, and a schema
// registry over HTTP.
//
//   Foreign read BROKERS TOPIC REGISTRY COUNT
//     prints the first COUNT records of the topic, a line of JSON each.
//   Foreign write BROKERS TOPIC REGISTRY SUBJECT SCHEMA-FILE KEY HEADER=VALUE... < JSON
//     registers the schema under the subject, writes what stands in JSON under it as one
//     record, and prints the id of the schema.
public class Foreign {
    static final ObjectMapper JSON = new ObjectMapper();
    static final HttpClient HTTP = HttpClient.newHttpClient();

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "read" -> read(args[1], args[2], args[3], Integer.parseInt(args[4]));
            case "write" -> write(args);
            default -> throw new IllegalArgumentException("want read or write, got " + args[0]);
        }
    }

    static void read(String brokers, String topic, String registry, int count) throws Exception {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", brokers);
        config.put("isolation.level", "read_committed");
        config.put("auto.offset.reset", "none");
        Map<Integer, Schema> schemas = new HashMap<>();
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> parts = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(p -> parts.add(new TopicPartition(topic, p.partition())));
            consumer.assign(parts);
            consumer.seekToBeginning(parts);
            for (int seen = 0; seen < count;) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofSeconds(1))) {
                    print(r, registry, schemas);
                    seen++;
                }
            }
        }
    }

    static void print(ConsumerRecord<byte[], byte[]> r, String registry, Map<Integer, Schema> schemas) throws Exception {
        ByteBuffer frame = ByteBuffer.wrap(r.value());
        byte magic = frame.get();
        int id = frame.getInt();
        Schema schema = schemas.get(id);
        if (schema == null) {
            schema = new Schema.Parser().parse(JSON.readTree(call("GET", registry + "/schemas/ids/" + id, null)).get("schema").asText());
            schemas.put(id, schema);
        }
        BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(r.value(), 5, r.value().length - 5, null);
        GenericRecord value = new GenericDatumReader<GenericRecord>(schema).read(null, decoder);
        Map<String, String> headers = new TreeMap<>();
        for (Header h : r.headers()) {
            headers.put(h.key(), new String(h.value(), StandardCharsets.UTF_8));
        }
        ObjectNode line = JSON.createObjectNode();
        line.put("partition", r.partition());
        line.put("key", r.key() == null ? null : new String(r.key(), StandardCharsets.UTF_8));
        line.put("magic", magic);
        line.put("id", id);
        line.put("schema", schema.getFullName());
        line.put("whole", decoder.isEnd());
        line.set("value", JSON.readTree(value.toString()));
        line.set("headers", JSON.valueToTree(headers));
        // The platform's encoding, which println takes, may not have every letter.
        System.out.write((JSON.writeValueAsString(line) + "\n").getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }

    static void write(String[] args) throws Exception {
        String brokers = args[1], topic = args[2], registry = args[3], subject = args[4], text = Files.readString(Path.of(args[5])), key = args[6];
        Schema schema = new Schema.Parser().parse(text);
        String answer = call("POST", registry + "/subjects/" + subject + "/versions", JSON.writeValueAsString(Map.of("schema", text)));
        int id = JSON.readTree(answer).get("id").asInt();

        String value = new String(System.in.readAllBytes(), StandardCharsets.UTF_8);
        GenericRecord record = new GenericDatumReader<GenericRecord>(schema).read(null, DecoderFactory.get().jsonDecoder(schema, value));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(0);
        out.write(ByteBuffer.allocate(4).putInt(id).array());
        BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(out, null);
        new GenericDatumWriter<GenericRecord>(schema).write(record, encoder);
        encoder.flush();

        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", brokers);
        config.put("acks", "all");
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            var r = new ProducerRecord<>(topic, key.getBytes(StandardCharsets.UTF_8), out.toByteArray());
            for (int i = 7; i < args.length; i++) {
                String[] h = args[i].split("=", 2);
                r.headers().add(h[0], h[1].getBytes(StandardCharsets.UTF_8));
            }
            producer.send(r).get();
        }
        System.out.println(id);
    }

    static String call(String method, String url, String body) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(url)).header("Content-Type", "application/vnd.schemaregistry.v1+json")
                .method(method, body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(body));
        HttpResponse<String> r = HTTP.send(request.build(), HttpResponse.BodyHandlers.ofString());
        if (r.statusCode() != 200) {
            throw new IllegalStateException(method + " " + url + ": " + r.statusCode() + " " + r.body());
        }
        return r.body();
    }
}
