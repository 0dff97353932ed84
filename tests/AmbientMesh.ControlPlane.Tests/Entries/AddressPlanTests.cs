using System.Net;
using AmbientMesh.ControlPlane.Translation.Entries;
using AmbientMesh.Kubernetes;

namespace AmbientMesh.ControlPlane.Tests.Entries;

/// <summary>Addresses given to hosts of ServiceEntries (l7 reference 4.6).</summary>
public class AddressPlanTests
{
    private static ServiceEntry Entry(string name, string[] hosts, int age = 0, string resolution = "DNS", string[]? addresses = null, (string Host, string Value)[]? held = null, bool? enabled = null) => new()
    {
        Metadata = new ObjectMeta
        {
            Name = name,
            Namespace = "shop",
            CreationTimestamp = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero).AddDays(-age),
            Labels = enabled is { } on ? new Dictionary<string, string> { ["networking.istio.io/enable-autoallocate-ip"] = on ? "true" : "false" } : new Dictionary<string, string>(),
        },
        Spec = new ServiceEntrySpec { Hosts = hosts, Resolution = resolution, Addresses = addresses ?? [] },
        Status = new ServiceEntryStatus { Addresses = [.. (held ?? []).Select(h => new AssignedAddress { Host = h.Host, Value = h.Value })] },
    };

    private static AddressPlan Plan(string ipv4 = "240.240.0.0/16", string ipv6 = "2001:2::/48") => new(IPNetwork.Parse(ipv4), IPNetwork.Parse(ipv6));

    /// <summary>What each entry is told, as <c>host=address</c>.</summary>
    private static Dictionary<string, string> Told(AddressPlan plan, params ServiceEntry[] entries) =>
        plan.Decide(entries, out _).ToDictionary(a => a.Entry.Name, a => string.Join(" ", a.Addresses.Select(x => $"{x.Host}={x.Value}")));

    [Fact]
    public void Each_host_gets_one_address_of_each_family_the_oldest_entry_first()
    {
        var told = Told(Plan(), Entry("b", ["b.example.com"]), Entry("a", ["A1.example.com", "a2.example.com"], age: 1));
        Assert.Equal("a1.example.com=240.240.0.1 a1.example.com=2001:2::1 a2.example.com=240.240.0.2 a2.example.com=2001:2::2", told["a"]);
        Assert.Equal("b.example.com=240.240.0.3 b.example.com=2001:2::3", told["b"]);
    }

    [Fact]
    public void What_is_held_stays_held_and_nothing_is_due_again()
    {
        var plan = Plan();
        var held = Entry("a", ["a.example.com"], held: [("a.example.com", "240.240.0.9"), ("a.example.com", "2001:2::9")]);
        Assert.Empty(plan.Decide([held], out _));
        Assert.Equal("b.example.com=240.240.0.1 b.example.com=2001:2::1", Told(plan, held, Entry("b", ["b.example.com"], age: 5))["b"]);
    }

    [Fact]
    public void A_new_leader_gives_out_nothing_that_is_held()
    {
        var first = Plan().Decide([Entry("a", ["a.example.com"])], out _).Single();
        var after = Entry("a", ["a.example.com"]) with { Status = new ServiceEntryStatus { Addresses = first.Addresses } };
        var second = Plan();
        Assert.Equal("b.example.com=240.240.0.2 b.example.com=2001:2::2", Told(second, after, Entry("b", ["b.example.com"], age: 9))["b"]);
    }

    [Fact]
    public void A_write_that_was_overtaken_is_tried_again_with_the_same_addresses()
    {
        var plan = Plan();
        var first = Told(plan, Entry("a", ["a.example.com"]));
        Assert.Equal(first, Told(plan, Entry("a", ["a.example.com"])));
        var both = Told(plan, Entry("a", ["a.example.com"]), Entry("b", ["b.example.com"], age: 5));
        Assert.Equal(("a.example.com=240.240.0.1 a.example.com=2001:2::1", "b.example.com=240.240.0.2 b.example.com=2001:2::2"), (both["a"], both["b"]));
    }

    [Fact]
    public void Of_two_that_hold_one_address_the_older_keeps_it()
    {
        var told = Told(Plan(),
            Entry("young", ["y.example.com"], held: [("y.example.com", "240.240.0.5"), ("y.example.com", "2001:2::6")]),
            Entry("old", ["o.example.com"], age: 1, held: [("o.example.com", "240.240.0.5"), ("o.example.com", "2001:2::5")]));
        Assert.Equal(["young"], told.Keys);
        Assert.Equal("y.example.com=240.240.0.1 y.example.com=2001:2::6", told["young"]);
    }

    [Fact]
    public void An_address_somebody_wrote_into_a_spec_is_theirs()
    {
        var told = Told(Plan(),
            Entry("written", ["w.example.com"], resolution: "STATIC", addresses: ["240.240.0.0/30", "240.240.0.5"]),
            Entry("old", ["o.example.com"], age: 9, held: [("o.example.com", "240.240.0.5"), ("o.example.com", "2001:2::5")]));
        Assert.Equal("o.example.com=240.240.0.4 o.example.com=2001:2::5", told["old"]);
    }

    [Fact]
    public void What_may_hold_no_address_gives_it_back()
    {
        (string, string)[] held = [("a.example.com", "240.240.0.5")];
        var told = Told(Plan(),
            Entry("passed", ["a.example.com"], resolution: "NONE", held: held), Entry("own", ["a.example.com"], addresses: ["192.0.2.1"], held: held), Entry("off", ["a.example.com"], enabled: false, held: held),
            Entry("wild", ["*.example.com"], held: [("*.example.com", "240.240.0.6")]), Entry("dynamic", ["*.example.org"], resolution: "DYNAMIC_DNS"), Entry("gone", ["new.example.com"], held: held));
        Assert.Equal(("", "", "", ""), (told["passed"], told["own"], told["off"], told["wild"]));
        Assert.Equal("*.example.org=240.240.0.1 *.example.org=2001:2::1", told["dynamic"]);
        Assert.Equal("new.example.com=240.240.0.2 new.example.com=2001:2::2", told["gone"]);
    }

    [Fact]
    public void A_range_that_is_used_up_is_said_and_what_is_given_back_is_found_again()
    {
        var plan = Plan(ipv4: "192.0.2.0/30", ipv6: "2001:db8::/126");
        var entries = Enumerable.Range(0, 5).Select(n => Entry($"e{n}", [$"h{n}.example.com"], age: 9 - n)).ToArray();
        var due = plan.Decide(entries, out var exhausted);
        Assert.Equal(["h3.example.com", "h4.example.com"], exhausted);
        Assert.Equal("192.0.2.1 2001:db8::1 192.0.2.2 2001:db8::2 2001:db8::3", string.Join(" ", due.SelectMany(a => a.Addresses).Select(a => a.Value)));

        var holding = due.Where(a => a.Entry.Name is not "e0").Select(a => a.Entry with { Status = new ServiceEntryStatus { Addresses = a.Addresses } });
        var again = plan.Decide([.. holding, entries[3]], out exhausted);
        Assert.Empty(exhausted);
        string Of(string name) => string.Join(" ", again.Single(a => a.Entry.Name == name).Addresses.Select(a => a.Value));
        Assert.Equal(("192.0.2.1 2001:db8::3", "2001:db8::1"), (Of("e2"), Of("e3")));   // the older one first, who had no IPv4 address yet
    }
}
