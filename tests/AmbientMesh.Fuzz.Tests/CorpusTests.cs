using AmbientMesh.Fuzz.Targets;

namespace AmbientMesh.Fuzz.Tests;

/// <summary>What hostile input once broke stays mended: every kept input, and every seed, keeps all promises of its target.</summary>
public class CorpusTests
{
    public static TheoryData<string> Names => [.. FuzzTargets.All.Select(t => t.Name)];

    // T-40: among them what users may write into objects, and what any peer may send.
    [Theory]
    [MemberData(nameof(Names))]
    [Scenario("T-40")]
    public void Seeds_and_kept_inputs_break_no_promise(string name)
    {
        var target = FuzzTargets.All.Single(t => t.Name == name);
        foreach (var (kept, input) in target.Seeds().Select((seed, i) => ($"seed {i}", seed)).Concat(Corpus.Kept(target)))
            Assert.True(Trial.Of(target, input) is not { } fault, $"{name} {kept}: {Trial.Of(target, input)?.Text}");
    }

    [Fact]
    public void Every_kept_input_belongs_to_a_target()
    {
        var folder = Path.Combine(AppContext.BaseDirectory, "Corpus");
        var names = Directory.Exists(folder) ? Directory.GetDirectories(folder).Select(d => Path.GetFileName(d)!) : [];
        Assert.Empty(names.Except(FuzzTargets.All.Select(t => t.Name)));
    }

    [Fact]
    public void A_broken_promise_is_found()
    {
        var fault = Trial.Of(new Forgetful(), [1]);
        Assert.NotNull(fault);
        Assert.Equal("BrokenPromiseException a byte stays", fault.Key);
        Assert.Equal("NotSupportedException Forgetful.Run", Trial.Of(new Forgetful(), [])!.Key);
    }

    private sealed class Forgetful : FuzzTarget
    {
        public override string Name => "forgetful";
        public override string Purpose => "breaks its promise";
        public override IEnumerable<byte[]> Seeds() => [];
        public override void Run(byte[] input) => throw new BrokenPromiseException(input.Length > 0 ? "a byte stays: it did not" : throw new NotSupportedException());
    }
}
