//! Alone in its process, because it counts threads.
#![allow(missing_docs)]

use propylon_simulator::{Selector, Simulator, SimulatorConfig, Step};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, |tasks| {
        tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
            .filter(|name| name.trim() == "propylon-sim")
            .count()
    })
}

#[test]
#[cfg(target_os = "linux")]
fn stop_joins_every_thread_and_may_be_called_twice() {
    let simulator = Simulator::start(SimulatorConfig { rate: None, ..Default::default() }).expect("starts");
    let port = simulator.port();
    assert!(threads() >= 3);
    simulator.stop();
    simulator.stop();
    assert_eq!(threads(), 0);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(simulator.act(Selector::LAST, Step::Reconnect).is_err());
}
