//! Alone in its process, because it counts threads.
#![allow(missing_docs)]

use std::{
    thread,
    time::{Duration, Instant},
};

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
    // One that was joined has ended, but for its entry in /proc: the kernel removes it a moment later.
    let until = Instant::now() + Duration::from_secs(10);
    while threads() > 0 && Instant::now() < until {
        thread::yield_now();
    }
    assert_eq!(threads(), 0);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(simulator.act(Selector::LAST, Step::Reconnect).is_err());
}
