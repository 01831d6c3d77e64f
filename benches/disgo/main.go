// DisGo as the client of a benchmark, as it is released. Speaks as clients/meter.py does, where its words are explained.
//
// DisGo decodes every event into its types, whoever listens. With -mode all its gateway alone does so and calls one
// function for each event; with -mode typed it is the whole client, as disgo.New makes it, with a listener for messages.
// Its caches are off by default and stay so. Compression is DisGo's choice: it knows that of single payloads only.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/disgoorg/disgo"
	"github.com/disgoorg/disgo/bot"
	"github.com/disgoorg/disgo/discord"
	"github.com/disgoorg/disgo/events"
	"github.com/disgoorg/disgo/gateway"
	"github.com/disgoorg/disgo/rest"
)

// The client reads the bot's id from the first part.
const token = "MTIzNDU2Nzg5MDEyMzQ1Njc4.simulator.simulator"

// settle is the time from READY to the beginning, for the guilds that follow it.
const settle = 500 * time.Millisecond

// strict ends the process where DisGo warns: an event that it cannot decode it logs and leaves out.
type strict struct{ slog.Handler }

func (s strict) Handle(ctx context.Context, record slog.Record) error {
	err := s.Handler.Handle(ctx, record)
	os.Exit(1)
	return err
}

func (s strict) WithAttrs(attrs []slog.Attr) slog.Handler { return strict{s.Handler.WithAttrs(attrs)} }
func (s strict) WithGroup(name string) slog.Handler       { return strict{s.Handler.WithGroup(name)} }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func say(what map[string]any) {
	check(json.NewEncoder(os.Stdout).Encode(what))
}

// used is what this process, all its threads, has used so far.
func used() syscall.Rusage {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return usage
}

func seconds(time syscall.Timeval) float64 { return float64(time.Nano()) / 1e9 }

// memory is a figure of this process in bytes: VmRSS, or VmHWM for its peak. (Rusage's peak begins with that of the
// process that started this one.)
func memory(name string) int {
	status, err := os.ReadFile("/proc/self/status")
	check(err)
	_, rest, found := strings.Cut(string(status), name+":")
	if !found {
		log.Fatalf("no %s in /proc/self/status", name)
	}
	var kibibytes int
	_, err = fmt.Sscan(rest, &kibibytes)
	check(err)
	return kibibytes * 1024
}

// meter is the measurement. Only DisGo's reading goroutine touches it, but for begin, after which the traffic starts.
type meter struct {
	messages, dispatches int
	text                 int
	usage                syscall.Rusage
	rss                  int
}

// begin settles, then counts from here; it does not keep the reading goroutine waiting.
func (m *meter) begin() {
	go func() {
		time.Sleep(settle)
		runtime.GC()
		m.rss = memory("VmRSS")
		m.usage = used()
		say(map[string]any{"ready": true})
	}()
}

func (m *meter) message(message *discord.Message) {
	// So that the compiler does not leave the reads out.
	m.text += len(message.Content) + int(message.Author.ID&1) + int(message.ChannelID&1)
	m.messages++
}

// end stops counting and tells; ends the process.
func (m *meter) end() {
	now, was := used(), m.usage
	peak := memory("VmHWM")
	runtime.GC()
	result := map[string]any{
		"user": seconds(now.Utime) - seconds(was.Utime), "system": seconds(now.Stime) - seconds(was.Stime),
		"waits": now.Nvcsw - was.Nvcsw, "preemptions": now.Nivcsw - was.Nivcsw,
		// Goroutines have no thread of their own.
		"loop_thread": nil,
		"rss_before":  m.rss, "rss_peak": peak, "rss_after": memory("VmRSS"),
		"messages":    m.messages,
		"latency_p50": nil, "latency_p99": nil,
		"version": disgo.Version,
	}
	if m.dispatches > 0 {
		result["dispatches"] = m.dispatches
	}
	say(map[string]any{"result": result})
	os.Exit(0)
}

// alone opens the gateway without a client on top.
func (m *meter) alone(ctx context.Context, options []gateway.ConfigOpt) error {
	handle := func(_ gateway.EventType, _ int, _ int, event gateway.EventData) {
		if _, ack := event.(gateway.EventHeartbeatAck); ack {
			return
		}
		m.dispatches++
		switch event := event.(type) {
		case gateway.EventReady:
			m.begin()
		case gateway.EventMessageCreate:
			m.message(&event.Message)
		case gateway.EventInviteDelete:
			m.end()
		}
	}
	return gateway.New(token, handle, nil, options...).Open(ctx)
}

// client opens the whole bot.
func (m *meter) client(ctx context.Context, apiURL string, options []gateway.ConfigOpt) error {
	client, err := disgo.New(token,
		bot.WithRestClientConfigOpts(rest.WithURL(strings.TrimSuffix(apiURL, "/"))),
		bot.WithGatewayConfigOpts(options...),
		bot.WithEventListenerFunc(func(*events.Ready) { m.begin() }),
		bot.WithEventListenerFunc(func(event *events.MessageCreate) { m.message(&event.Message) }),
		bot.WithEventListenerFunc(func(*events.InviteDelete) { m.end() }),
	)
	if err != nil {
		return err
	}
	return client.OpenGateway(ctx)
}

func main() {
	mode := flag.String("mode", "", "all or typed")
	url := flag.String("url", "", "of the gateway")
	apiURL := flag.String("api-url", "", "of the REST API")
	flag.String("compression", "", "ignored: DisGo compresses payload by payload")
	flag.Parse()
	slog.SetDefault(slog.New(strict{slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})}))

	options := []gateway.ConfigOpt{gateway.WithURL(*url), gateway.WithIntents(gateway.IntentsAll)}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var meter meter
	switch *mode {
	case "all":
		check(meter.alone(ctx, options))
	case "typed":
		check(meter.client(ctx, *apiURL, options))
	default:
		log.Fatalf("no such mode: %q", *mode)
	}
	select {}
}
