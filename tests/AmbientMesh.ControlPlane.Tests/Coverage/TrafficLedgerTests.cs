using AmbientMesh.ControlPlane.Coverage;
using AmbientMesh.Telemetry;
using AmbientMesh.Telemetry.Coverage;

namespace AmbientMesh.ControlPlane.Tests.Coverage;

/// <summary>Adding up what ztunnels counted: once per connection, over restarts, bounded.</summary>
public class TrafficLedgerTests
{
    private static readonly DateTimeOffset s_noon = new(2026, 1, 1, 12, 0, 0, TimeSpan.Zero);

    private static PairAccount Counted(params (string Reporter, string From, string To, string Security, long Connections, long Bytes)[] samples)
    {
        var account = new PairAccount();
        foreach (var (reporter, from, to, security, connections, bytes) in samples)
        {
            account.Add(PairAccount.Opened, [reporter, "ns", from, "ns", to, security], connections);
            account.Add(PairAccount.Received, [reporter, "ns", from, "ns", to, security], bytes / 2);
            account.Add(PairAccount.Sent, [reporter, "ns", from, "ns", to, security], bytes - bytes / 2);
        }
        return account;
    }

    [Fact]
    public void A_connection_seen_at_both_ends_counts_once_and_one_seen_at_one_end_counts_too()
    {
        var ledger = new TrafficLedger();
        ledger.Take("zt1", Counted(("source", "a", "b", "mutual_tls", 10, 1000)), isNew: true);
        ledger.Take("zt2", Counted(("destination", "a", "b", "mutual_tls", 9, 990), ("destination", "unknown", "b", "unknown", 1, 7)), isNew: true);
        Assert.Equal(new TrafficCount(10, 1000), ledger.Total.MutualTls);
        Assert.Equal(new TrafficCount(1, 7), ledger.Total.Plaintext);
        Assert.Equal(new TrafficCount(0, 0), ledger.BetweenWorkloads.Plaintext);
        Assert.Equal("unknown", ledger.Pairs[0].Source.Workload);   // what is least protected comes first
        Assert.Equal(99.3048, ledger.Total.PercentBytesMutualTls);
    }

    [Fact]
    public void A_ztunnel_that_begins_anew_or_is_gone_takes_nothing_back()
    {
        var ledger = new TrafficLedger();
        ledger.Take("zt1", Counted(("source", "a", "b", "mutual_tls", 10, 1000)), isNew: true);
        ledger.Take("zt1", Counted(("source", "a", "b", "mutual_tls", 12, 1300)), isNew: true);
        Assert.Equal(new TrafficCount(12, 1300), ledger.Total.MutualTls);
        ledger.Take("zt1", Counted(("source", "a", "b", "mutual_tls", 1, 5)), isNew: true);
        Assert.Equal(new TrafficCount(13, 1305), ledger.Total.MutualTls);
        ledger.KeepOnly(new HashSet<string>());
        ledger.Take("zt2", Counted(("source", "a", "b", "mutual_tls", 1, 1)), isNew: true);
        Assert.Equal(new TrafficCount(14, 1306), ledger.Total.MutualTls);
    }

    [Fact]
    public void The_last_hour_leaves_out_what_was_counted_before_this_replica_looked_and_what_is_older()
    {
        var ledger = new TrafficLedger();
        ledger.Take("zt1", Counted(("source", "a", "b", "unknown", 100, 100_000)), isNew: false);
        ledger.Mark(s_noon);
        Assert.Equal(0, ledger.LastHour(s_noon).Plaintext.Bytes);
        ledger.Take("zt1", Counted(("source", "a", "b", "unknown", 101, 100_010)), isNew: false);
        ledger.Mark(s_noon.AddMinutes(10));
        Assert.Equal(10, ledger.LastHour(s_noon.AddMinutes(10)).Plaintext.Bytes);
        ledger.Mark(s_noon.AddMinutes(65));
        ledger.Take("zt1", Counted(("source", "a", "b", "unknown", 101, 100_013)), isNew: false);
        ledger.Mark(s_noon.AddMinutes(90));
        Assert.Equal(3, ledger.LastHour(s_noon.AddMinutes(90)).Plaintext.Bytes);
        Assert.Equal(100_013, ledger.Total.Plaintext.Bytes);
    }

    [Fact, Scenario("T-40")]
    public void Pairs_beyond_the_limit_are_summed_under_one_name()
    {
        var ledger = new TrafficLedger(maxPairs: 2);
        for (var i = 0; i < 50; i++) ledger.Take("zt1", Counted(("source", $"w{i}", "b", "mutual_tls", 1, 10)), isNew: true);
        Assert.Equal(3, ledger.Pairs.Count);
        Assert.Equal(500, ledger.Total.MutualTls.Bytes);
        Assert.Contains(ledger.Pairs, pair => pair.Source.Workload == MetricRegistry.OverflowLabel && pair.Traffic.MutualTls.Connections == 48);
    }
}
