package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

var errNoProxyURL = errors.New("not a proxy's URL")

// maxAddresses bounds how many addresses of one name are tried.
const maxAddresses = 8

// peer is the first host that a connection from here meets: the proxy, else the server.
func (e *exam) peer() (host, port string) {
	if e.proxy != nil {
		host, port, _ = net.SplitHostPort(e.proxy.address())
		return host, port
	}
	return e.target.host, e.target.port
}

func (e *exam) checkDNS(ctx context.Context) {
	host, _ := e.peer()
	if addr, err := netip.ParseAddr(host); err == nil {
		e.ok(IDDNS, Details{"addresses": []string{addr.String()}}, "%s is an address, no name", host)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, e.opts.Dial)
	defer cancel()
	addrs, err := e.opts.Resolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(addrs) == 0 {
		err = errors.New("the name has no address")
	}
	if err != nil {
		title := "the name " + quoted(host) + " does not resolve"
		if dns, ok := errors.AsType[*net.DNSError](err); ok && (dns.IsTimeout || dns.IsTemporary) || errors.Is(err, context.DeadlineExceeded) {
			title = "no name server answered for " + quoted(host)
		}
		e.add(Finding{ID: IDDNS, Status: Fail, Title: title, Means: "Nx cannot reach the server: every build fails.",
			Do:      "Check the spelling, and whether this machine uses the name server (or VPN, or cluster) that knows the name.",
			Details: Details{"error": e.foreign(err.Error())}})
		e.blocked = "the server's name does not resolve"
		return
	}
	list := addressList(addrs)
	e.ok(IDDNS, Details{"addresses": list}, "%s is %s", host, strings.Join(list, ", "))
}

func addressList(addrs []netip.Addr) []string {
	list := make([]string, 0, len(addrs))
	for _, a := range addrs[:min(len(addrs), maxAddresses)] {
		list = append(list, a.Unmap().String())
	}
	return list
}

func (e *exam) checkPort(ctx context.Context) {
	host, port := e.peer()
	addrs := []string{host}
	for _, f := range e.report.Findings {
		if list, ok := f.Details["addresses"].([]string); ok && f.ID == IDDNS {
			addrs = list
		}
	}
	var good, bad []string
	var last error
	for _, a := range addrs {
		if err := e.dial(ctx, net.JoinHostPort(a, port)); err != nil {
			bad, last = append(bad, a), err
		} else {
			good = append(good, a)
		}
	}
	details := Details{"port": port, "reached": good, "failed": bad}
	if last != nil {
		details["error"] = e.foreign(last.Error())
	}
	switch {
	case len(bad) == 0:
		e.ok(IDPort, details, "port %s of %s accepts connections", port, strings.Join(good, ", "))
	case len(good) > 0:
		e.add(Finding{ID: IDPort, Status: Warn,
			Title:   "port " + port + " is reached at " + strings.Join(good, ", ") + ", not at " + strings.Join(bad, ", "),
			Means:   "Nx tries the addresses in turn: connections are slow to open, or fail now and then.",
			Do:      "Remove the dead address from the name, or let the server listen on it.",
			Details: details})
	default:
		why, do := dialTrouble(last)
		e.add(Finding{ID: IDPort, Status: Fail, Title: "port " + port + " of " + strings.Join(bad, ", ") + " " + why,
			Means: "Nx cannot reach the server: every build fails.", Do: do, Details: details})
		e.blocked = "the server's port cannot be reached"
	}
}

func (e *exam) dial(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, e.opts.Dial)
	defer cancel()
	conn, err := e.opts.Connect(ctx, "tcp", address)
	if err != nil {
		return err
	}
	// A half-open port of a load balancer looks like this too; the next checks will tell.
	_ = conn.SetDeadline(time.Now())
	return conn.Close()
}

func dialTrouble(err error) (why, do string) {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refuses connections", "Is the server running, and does it listen on this address and port, not on loopback alone?"
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		return "does not answer", "A firewall or security group most likely drops the packets. Allow this machine, and check the port."
	case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH):
		return "has no route from here", "Check the network, the VPN and whether this machine has IPv6."
	default:
		return "cannot be reached", "Look at the error in the details (--json)."
	}
}

func isTimeout(err error) bool {
	te, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && te.Timeout()
}

func (o *Options) dialBounded(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Dial)
	defer cancel()
	return o.Connect(ctx, network, address)
}
