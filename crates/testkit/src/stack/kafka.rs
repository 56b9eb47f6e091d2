//! Kafka in KRaft mode; each broker is a controller as well.

use crate::cache::Programs;
use crate::ports;
use crate::process::{Launch, Process};
use crate::wait::try_wait_until;
use anyhow::{Context, Result, bail};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const UP_WITHIN: Duration = Duration::from_secs(90);

/// One broker: its ports and its folder.
pub(super) struct Broker {
    id: usize,
    port: u16,
    controller_port: u16,
    cluster: String,
    /// `id@host:port` of every controller.
    voters: String,
    folder: PathBuf,
    count: usize,
}

impl Broker {
    /// `count` brokers that know one another.
    pub(super) fn cluster(count: usize, folder: &Path) -> Result<Vec<Broker>> {
        if !matches!(count, 1 | 3) {
            bail!("a stack has 1 or 3 brokers, not {count}");
        }
        let ports =
            (0..count).map(|_| Ok((ports::free()?, ports::free()?))).collect::<Result<Vec<_>>>()?;
        let voters: Vec<_> = ports
            .iter()
            .enumerate()
            .map(|(i, (_, controller))| format!("{}@127.0.0.1:{controller}", i + 1))
            .collect();
        let (voters, cluster) = (voters.join(","), cluster_id());
        let broker = |(index, (port, controller_port)): (usize, (u16, u16))| Broker {
            id: index + 1,
            port,
            controller_port,
            cluster: cluster.clone(),
            voters: voters.clone(),
            folder: folder.join(format!("kafka-{index}")),
            count,
        };
        Ok(ports.into_iter().enumerate().map(broker).collect())
    }

    /// `host:port` for clients.
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Writes its settings and formats its folder.
    pub(super) fn prepare(&self, programs: &Programs) -> Result<()> {
        std::fs::create_dir(&self.folder)?;
        let file = self.folder.join("server.properties");
        std::fs::write(&file, self.properties())?;
        let mut java = Command::new("java");
        java.args([
            "-Xmx128m",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-cp",
            &programs.kafka_class_path(),
        ]);
        java.args(["kafka.tools.StorageTool", "format", "-t", &self.cluster, "-c"]).arg(&file);
        let output = java.output().context("run java")?;
        if !output.status.success() {
            bail!("format Kafka's folder: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Starts it and waits until it is a member of the cluster.
    pub(super) fn start(&self, programs: &Programs, log: &Path) -> Result<Process> {
        let launch =
            Launch::new("Kafka", "java").args(["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC"]);
        let launch = launch
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .arg("-Dorg.slf4j.simpleLogger.showDateTime=true");
        let launch = launch
            .args(["-cp", &programs.kafka_class_path(), "kafka.Kafka"])
            .arg(self.folder.join("server.properties"));
        let mut process = launch.start(log)?;
        let up = try_wait_until(UP_WITHIN, || {
            process.expect_running().map(|()| self.answers().then_some(())).transpose()
        });
        match up {
            Some(Ok(())) => Ok(process),
            Some(Err(error)) => Err(error),
            None => {
                bail!("Kafka was not up after {UP_WITHIN:?}; its last words:\n{}", process.tail())
            }
        }
    }

    fn answers(&self) -> bool {
        // librdkafka writes to stderr when a port is closed; so knock first.
        if TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            return false;
        }
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", self.address())
            .set_log_level(RDKafkaLogLevel::Emerg)
            .create::<BaseConsumer>();
        let metadata =
            consumer.and_then(|consumer| consumer.fetch_metadata(None, Duration::from_secs(2)));
        metadata.is_ok_and(|metadata| {
            metadata.brokers().iter().any(|broker| broker.port() == i32::from(self.port))
        })
    }

    fn properties(&self) -> String {
        let Broker { id, port, controller_port, voters, count, .. } = self;
        let folder = self.folder.join("data");
        let in_sync = if *count == 3 { 2 } else { 1 };
        format!(
            "process.roles=broker,controller\n\
             node.id={id}\n\
             controller.quorum.voters={voters}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={folder}\n\
             auto.create.topics.enable=false\n\
             default.replication.factor={count}\n\
             min.insync.replicas={in_sync}\n\
             offsets.topic.num.partitions=4\n\
             offsets.topic.replication.factor={count}\n\
             transaction.state.log.num.partitions=4\n\
             transaction.state.log.replication.factor={count}\n\
             transaction.state.log.min.isr={in_sync}\n\
             share.coordinator.state.topic.num.partitions=1\n\
             share.coordinator.state.topic.replication.factor={count}\n\
             share.coordinator.state.topic.min.isr={in_sync}\n\
             transaction.abort.timed.out.transaction.cleanup.interval.ms=500\n\
             group.initial.rebalance.delay.ms=0\n\
             group.min.session.timeout.ms=1000\n\
             broker.session.timeout.ms=6000\n\
             controlled.shutdown.enable=true\n\
             num.network.threads=2\n\
             num.io.threads=4\n\
             num.recovery.threads.per.data.dir=2\n\
             log.cleaner.dedupe.buffer.size=8388608\n\
             log.segment.bytes=268435456\n",
            folder = folder.display(),
        )
    }
}

/// A cluster id as Kafka makes them: 22 characters of base64, not beginning with a dash.
fn cluster_id() -> String {
    crate::random_name("weir")
        .replace('-', "")
        .chars()
        .chain(std::iter::repeat('A'))
        .take(21)
        .chain(['A'])
        .collect()
}
