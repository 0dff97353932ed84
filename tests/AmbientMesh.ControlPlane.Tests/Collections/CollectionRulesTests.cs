using AmbientMesh.ControlPlane.Collections;

namespace AmbientMesh.ControlPlane.Tests.Collections;

public class CollectionRulesTests
{
    private sealed record Item(string Name, string Group, int Value);

    [Fact]
    public void Only_what_depends_on_the_change_is_computed_again()
    {
        var graph = new CollectionGraph();
        var settings = new SourceCollection<string, Item>(graph, "settings");
        var items = new SourceCollection<string, Item>(graph, "items");
        var sums = items.Map("sums", i => i.Name, (context, i) => i with { Value = i.Value + (context.Get(settings, i.Group)?.Value ?? 0) });
        graph.Apply(() =>
        {
            for (var n = 0; n < 100; n++) items.Set($"i{n:00}", new Item($"i{n:00}", $"g{n % 10}", n));
        });
        Assert.Equal(100, sums.Computations);

        graph.Apply(() => settings.Set("g3", new Item("g3", "", 1000)));   // an absent key that was looked at counts as seen
        Assert.Equal(110, sums.Computations);
        Assert.Equal(1013, sums.Find("i13")!.Value);

        graph.Apply(() => items.Set("i13", new Item("i13", "g4", 0)));
        graph.Apply(() => settings.Set("g3", new Item("g3", "", 2000)));   // i13 has left the group
        Assert.Equal(110 + 1 + 9, sums.Computations);
    }

    [Fact]
    public void An_output_that_comes_out_equal_stops_there()
    {
        var graph = new CollectionGraph();
        var items = new SourceCollection<string, Item>(graph, "items");
        var parities = items.Map("parities", i => i.Name, (_, i) => new Item(i.Name, "", i.Value % 2));
        var texts = parities.Map("texts", i => i.Name, (_, i) => $"{i.Name} {i.Value}");
        graph.Apply(() => items.Set("a", new Item("a", "", 1)));
        graph.Apply(() => items.Set("a", new Item("a", "", 3)));
        Assert.Equal((2, 1), (parities.Computations, texts.Computations));
    }

    [Fact]
    public void An_item_whose_transformation_fails_keeps_its_last_good_output_and_disturbs_no_other()
    {
        var failures = new List<string>();
        var graph = new CollectionGraph { TransformationFailed = (collection, key, problem) => failures.Add($"{collection}/{key}: {problem.Message}") };
        var items = new SourceCollection<string, Item>(graph, "items");
        var checks = items.Map("checked", i => i.Name, (_, i) => i.Value >= 0 ? i : throw new FormatException($"{i.Name} is negative"));
        graph.Apply(() => items.Set("a", new Item("a", "", 1)));
        graph.Apply(() =>
        {
            items.Set("a", new Item("a", "", -1));
            items.Set("b", new Item("b", "", 2));
        });
        Assert.Equal(["checked/a: a is negative"], failures);
        Assert.Equal((1, 2), (checks.Find("a")!.Value, checks.Find("b")!.Value));

        graph.Apply(() => items.Remove("a"));
        Assert.Null(checks.Find("a"));
    }

    [Fact]
    public void A_key_claimed_twice_goes_to_the_lowest_input_and_passes_on_when_that_leaves()
    {
        var graph = new CollectionGraph();
        var items = new SourceCollection<string, Item>(graph, "items");
        var groups = items.MapMany("groups", (Item i) => i.Group, (_, i) => [i]);
        graph.Apply(() => items.Set("b", new Item("b", "g", 2)));
        graph.Apply(() => items.Set("a", new Item("a", "g", 1)));
        Assert.Equal("a", groups.Find("g")!.Name);
        graph.Apply(() => items.Remove("a"));
        Assert.Equal("b", groups.Find("g")!.Name);
        graph.Apply(() => items.Remove("b"));
        Assert.Equal(0, groups.Count);
    }

    [Fact]
    public void A_transformation_may_not_look_ahead()
    {
        var graph = new CollectionGraph();
        var items = new SourceCollection<string, Item>(graph, "items");
        Collection<string, Item>? later = null;
        _ = items.Map("early", i => i.Name, (context, i) => context.Get(later!, i.Name));
        later = new SourceCollection<string, Item>(graph, "later");
        var refused = Assert.Throws<InvalidOperationException>(() => graph.Apply(() => items.Set("a", new Item("a", "", 1))));
        Assert.Contains("not an earlier collection", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_source_is_written_to_only_within_a_batch()
    {
        var items = new SourceCollection<string, Item>(new CollectionGraph(), "items");
        Assert.Throws<InvalidOperationException>(() => items.Set("a", new Item("a", "", 1)));
    }

    [Fact]
    public async Task The_loop_applies_what_waits_as_one_batch_and_reads_see_what_was_posted_before()
    {
        var graph = new CollectionGraph();
        var items = new SourceCollection<string, Item>(graph, "items");
        var batches = new List<int>();
        items.Subscribe(changes => batches.Add(changes.Count));
        var loop = new CollectionLoop(graph);
        for (var n = 0; n < 5; n++)
        {
            var name = $"i{n}";
            loop.Post(() => items.Set(name, new Item(name, "", 0)));
        }

        using var stop = new CancellationTokenSource();
        var count = loop.ReadAsync(() => items.Count, Patience.Token);
        var running = loop.RunAsync(stop.Token);
        Assert.Equal(5, await Patience.Within(count));
        Assert.Equal([5], batches);

        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Patience.Within(running));
    }
}
