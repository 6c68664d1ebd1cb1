package bezoar_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// timed names, for each wait in docs/deadlines.md, the tests that let it come to its end: a package and a test, in simulated time. One after "real:" has real time, since what
// waits is the operating system or a database; "elsewhere:" says who keeps that time, where it is not the server.
var timed = map[string][]string{
	"header-timeout":   {"internal/server TestHeadersThatDoNotEnd"},
	"idle-timeout":     {"internal/server TestAnIdleConnectionEnds", "internal/server TestAConnectionRestsForItsTime"},
	"stall-timeout":    {"internal/server TestUploadsHaveToMove", "internal/server TestDownloadsHaveToMove"},
	"store-timeout":    {"internal/cache TestNobodyWaitsForAStoreForever", "internal/cache TestAStoreThatGetsOnIsWaitedFor", "internal/store/hot TestASmallArtifactThatHangsHoldsNobody", "internal/store/bucket TestNoAnswer", "internal/store/bucket TestALineThatDrips"},
	"breaker-probe":    {"internal/store/breaker TestACircuitOpensAndCloses"},
	"slot-wait":        {"internal/admit TestAWaitHasAnEnd"},
	"write-wait":       {"internal/store/spool TestSentLate"},
	"spool-age":        {"internal/store/spool TestTooOld"},
	"spool-drain":      {"internal/store/spool TestClose"},
	"redirect-ttl":     {"elsewhere: the bucket", "real: internal/store/s3 TestPresign"},
	"purge-quarantine": {"real: internal/purge TestTheWholeWay"}, // by a clock of its own
	"scrub-every":      {"internal/scrub TestGoesOn"},
	"audit-keep":       {"internal/audit TestTrimming"},
	"drain-timeout":    {"internal/server TestARefusedUploadIsTakenForSomeTime"},
	"shutdown-delay":   {"internal/server TestTheEndHasItsTimes"},
	"shutdown-timeout": {"internal/server TestTheEndHasItsTimes"},

	"a connection to a bucket, and its TLS handshake":                                                                         {"real: internal/store/s3 TestClient", "real: internal/store/gcs TestClient", "real: internal/store/azure TestClient"},
	"a send of the spool without progress":                                                                                    {"internal/store/spool TestStall", "internal/store/spool TestBackoff"},
	"an upload, for a look whether the bucket has the entry":                                                                  {"internal/store/spool TestLook"},
	"an upload, for a look whether what the store has under its key is sound":                                                 {"internal/store/seal TestAnUploadDoesNotWaitForWhatIsInItsWay"},
	"a new connection, for its first request, while `max-connections` are open":                                               {"real: internal/server TestConnectionsTakeTurns"},
	"the end of the server, for requests that are on their way on connections it has; on connections without any request yet": {"real: internal/server TestTheEndOfTheServerAnswersWhatIsOnItsWay", "real: internal/server TestTheEndOfTheServerWaitsForAFirstRequest"},
	"a download from a bucket, for its turn among others":                                                                     {"internal/store/tier TestDownloadsAreBounded"},
	"a call that hangs in the operating system, after its request gave it up":                                                 {"internal/store/breaker TestAStoreThatMindsNoContext"},
	"an upload to a directory, for a write, a commit or its own removal that hangs":                                           {"internal/store/prompt TestUploadsUnderWay", "internal/store/prompt TestOneThatNeverReturns"},
	"a request, for a disk of the tier or the spool that hangs":                                                               {"internal/store/prompt TestEachCallThatHangs", "internal/store/prompt TestSyncHasMoreTime", "internal/store/tier TestADiskThatHangsHoldsNobody", "internal/store/spool TestADiskThatHangsHoldsNobody"},
	"a download whose file hangs in the middle":                                                                               {"internal/server TestAFileThatHangs"},
	"a read of tokens and revocations from the ledger":                                                                        {"internal/trust TestFailingSource", "internal/trust TestUnknownTokenDoesNotWaitForAHangingSource"},
	"graves to be recorded or read":                                                                                           {"internal/store/seal TestRecordsFail"},
	"entries to be noted in the ledger":                                                                                       {"internal/store/recorded TestHangingLedger"},
	"their uses to be noted":                                                                                                  {"internal/store/used TestALedgerThatFails"},
	"events to be written to the audit log":                                                                                   {"internal/audit TestOutage"},
	"an exchange, for the ledger to note it":                                                                                  {"internal/trust TestAnExchangeHasAnEnd"},
	"a connection to PostgreSQL":                                                                                              {"real: internal/ledger TestPostgresThatComesAndGoes"},
	"a lock in PostgreSQL":                                                                                                    {"real: internal/ledger TestPostgresLocked"},
	"a statement there, by its own clock; a peer that is gone":                                                                {"real: internal/ledger TestPostgresThatComesAndGoes", "real: test/replicas TestADatabaseThatIsAwayCostsNoRequest"},
	"an exchange, for the keys of an issuer that are not known yet":                                                           {"internal/trust/oidc TestATokenWaitsForKeysWithinBounds"},
	"a fetch of such keys; its connection; its handshake":                                                                     {"internal/trust/oidc TestOutages", "real: internal/trust/oidc TestASlowKeySet"},
	"the scrub, for the next bytes of an entry":                                                                               {"internal/scrub TestStalled"},
	"spans to be exported":                                                                                                    {"internal/tracing TestAnExportIsBounded"},
	"the last spans, and the last entries to be noted, at the end of the server":                                              {"internal/tracing TestTheEndIsBounded", "internal/store/recorded TestCloseWithFailingLedger"},
	"requests whose connections were cut at the end of the server":                                                            {"internal/server TestTheEndHasItsTimes"},
	"the tries on a bucket at the start":                                                                                      {"real: cmd/bezoar TestABucketThatDoesNotAnswerAtTheStart"},
}

// TestEachWaitHasATest holds docs/deadlines.md against that list, and the list against the tests.
func TestEachWaitHasATest(t *testing.T) {
	page, err := os.ReadFile("docs/deadlines.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]+) \| [^|]+ \| [^|]+ \|(?: [^|]+ \|)?$`).FindAllStringSubmatch(string(page), -1) {
		what := strings.Trim(m[1], "` ")
		if what == "setting" || what == "what waits" || strings.HasPrefix(what, "---") {
			continue
		}
		seen[what] = true
		if len(timed[what]) == 0 {
			t.Errorf("no test is named for this wait: %q", what)
		}
	}
	for what, tests := range timed {
		if !seen[what] {
			t.Errorf("docs/deadlines.md does not have the wait %q", what)
		}
		for _, test := range tests {
			if !strings.HasPrefix(test, "elsewhere: ") {
				findTest(t, test)
			}
		}
	}
}

// findTest fails the test if there is no such one, or if its file knows nothing of simulated time and it does not say so.
func findTest(t *testing.T, test string) {
	name, isReal := strings.CutPrefix(test, "real: ")
	dir, function, _ := strings.Cut(name, " ")
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "\nfunc "+function+"(t *testing.T) {") {
			continue
		}
		if simulated := strings.Contains(string(text), "synctest.") || strings.Contains(string(text), "inBubble"); !simulated && !isReal {
			t.Errorf("%s, in %s, has no simulated time", name, file)
		}
		return
	}
	t.Errorf("there is no test %s", name)
}
