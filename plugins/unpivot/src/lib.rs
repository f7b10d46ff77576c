//! Makes a row of each metric out of a row of all metrics of a host.

use wasmill_sdk::prelude::*;

/// The metrics of a host at one time.
#[derive(InputRow)]
pub struct Metrics {
    cpu_user: Option<f64>,
    cpu_system: Option<f64>,
    cpu_iowait: Option<f64>,
    load1: Option<f64>,
    mem_used_mb: Option<f64>,
    disk_read_kb: Option<f64>,
    disk_write_kb: Option<f64>,
    net_rx_kb: Option<f64>,
    net_tx_kb: Option<f64>,
    ctx_switches: Option<f64>,
    forks: Option<f64>,
    procs_running: Option<f64>,
    tcp_conns: Option<f64>,
}

impl Metrics {
    /// Their names and values.
    fn named(&self) -> [(&'static str, Option<f64>); 13] {
        [
            ("cpu_user", self.cpu_user),
            ("cpu_system", self.cpu_system),
            ("cpu_iowait", self.cpu_iowait),
            ("load1", self.load1),
            ("mem_used_mb", self.mem_used_mb),
            ("disk_read_kb", self.disk_read_kb),
            ("disk_write_kb", self.disk_write_kb),
            ("net_rx_kb", self.net_rx_kb),
            ("net_tx_kb", self.net_tx_kb),
            ("ctx_switches", self.ctx_switches),
            ("forks", self.forks),
            ("procs_running", self.procs_running),
            ("tcp_conns", self.tcp_conns),
        ]
    }
}

/// One metric.
#[derive(OutputRow)]
pub struct Reading<'a> {
    host: &'a str,
    metric: &'static str,
    value: f64,
}

/// The operator.
#[transform]
pub struct Unpivot {
    /// The value of the column `host`.
    host: String,
}

impl Transform for Unpivot {
    type Input<'a> = Metrics;
    type Output = Only<Reading<'static>>;

    fn check(&self) -> Result<(), Failure> {
        if self.host.is_empty() {
            return Err(Failure::new("`host` is empty: it is the value of the column `host`"));
        }
        Ok(())
    }

    fn row(&self, metrics: Metrics, out: &mut Self::Output) -> Result<(), Reject> {
        for (metric, value) in metrics.named() {
            if let Some(value) = value {
                out.emit(Reading {
                    host: &self.host,
                    metric,
                    value,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wasmill_sdk::testing::{Table, TransformTest};

    use super::*;

    const NAMES: [&str; 13] = [
        "cpu_user",
        "cpu_system",
        "cpu_iowait",
        "load1",
        "mem_used_mb",
        "disk_read_kb",
        "disk_write_kb",
        "net_rx_kb",
        "net_tx_kb",
        "ctx_switches",
        "forks",
        "procs_running",
        "tcp_conns",
    ];

    #[test]
    fn each_metric_that_is_there_is_a_row() {
        let mut input = Table::new();
        for (number, name) in (0_u32..).zip(NAMES) {
            let second = (number % 5 == 2).then(|| f64::from(number) + 0.5);
            input = input.with(name, [Some(f64::from(number)), second]);
        }
        let mut operator = TransformTest::<Unpivot>::open(r#"{"host":"h"}"#, &input).unwrap();
        operator.check_cuts(&input).unwrap();
        let output = operator.process(&input).unwrap();
        let names = NAMES.into_iter().chain(["cpu_iowait", "net_rx_kb", "tcp_conns"]);
        let values = (0..13).map(f64::from).chain([2.5, 7.5, 12.5]);
        let expect = Table::new()
            .with("host", ["h"; 16])
            .with("metric", names)
            .with("value", values);
        assert_eq!(output.port("out"), &expect);
    }

    #[test]
    fn a_host_without_a_name_is_refused() {
        let mut input = Table::new();
        for name in NAMES {
            input = input.with(name, [1.0]);
        }
        let failure = TransformTest::<Unpivot>::open(r#"{"host":""}"#, &input).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "`host` is empty: it is the value of the column `host`"
        );
    }
}
