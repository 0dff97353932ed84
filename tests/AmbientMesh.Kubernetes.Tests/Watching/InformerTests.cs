namespace AmbientMesh.Kubernetes.Tests;

public sealed class InformerTests
{
    private const string TooOld = """{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version: 7 (80)","reason":"Expired","code":410}""";

    private static string Pod(string name, int version, string labels = "{}") =>
        $$$"""{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"demo","name":"{{{name}}}","resourceVersion":"{{{version}}}","labels":{{{labels}}}},"spec":{"nodeName":"n1"}}""";

    private static string List(int version, params string[] items) => $$"""{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"{{version}}"},"items":[{{string.Join(',', items)}}]}""";

    private static string Told(string type, string o) => $$"""{"type":"{{type}}","object":{{o}}}""";

    [Fact]
    public async Task A_watch_begins_where_the_list_was_and_changes_arrive_in_order()
    {
        await using var world = await ScriptedPods.StartAsync();
        world.List(List(7, Pod("a", 5), Pod("b", 6)));
        var changes = world.Run();
        var watch = await world.NextWatchAsync();
        Assert.Contains("resourceVersion=7", watch.Query);
        Assert.Contains("allowWatchBookmarks=true", watch.Query);
        watch.Tell(Told("ADDED", Pod("c", 8)), Told("MODIFIED", Pod("a", 9)), Told("DELETED", Pod("b", 10)));
        Assert.Equal(["Added demo/a", "Added demo/b", "Synced", "Added demo/c", "Modified demo/a", "Deleted demo/b"], await changes.TakeAsync(6));
        Assert.Equal(["a", "c"], world.Informer.Items.Select(p => p.Name).Order());
        Assert.True(world.Informer.HasSynced);
    }

    [Fact]
    public async Task A_watch_that_ends_is_taken_up_after_the_last_bookmark()
    {
        await using var world = await ScriptedPods.StartAsync();
        world.List(List(7));
        world.Run();
        var watch = await world.NextWatchAsync();
        watch.Tell(Told("ADDED", Pod("a", 8)), Told("BOOKMARK", """{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"40"}}"""));
        watch.End();
        Assert.Contains("resourceVersion=40", (await world.NextWatchAsync()).Query);
        Assert.Single(world.Lists);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_version_no_longer_known_leads_to_a_new_list_whose_differences_are_told(bool asEvent)
    {
        await using var world = await ScriptedPods.StartAsync();
        world.List(List(7, Pod("a", 5), Pod("b", 6)));
        world.List(List(90, Pod("a", 50), Pod("c", 60)));
        var changes = world.Run();
        var watch = await world.NextWatchAsync();
        if (asEvent)
        {
            watch.Tell(Told("ERROR", TooOld));
        }
        else
        {
            world.RefuseNextWatch(410, TooOld);
            watch.End();
        }
        Assert.Equal(["Added demo/a", "Added demo/b", "Synced", "Deleted demo/b", "Modified demo/a", "Added demo/c"], await changes.TakeAsync(6));
        Assert.Contains("resourceVersion=90", (await world.NextWatchAsync()).Query);
    }

    [Fact]
    public async Task A_stream_that_breaks_off_is_taken_up_after_the_last_whole_event()
    {
        await using var world = await ScriptedPods.StartAsync();
        world.List(List(7));
        var changes = world.Run();
        var watch = await world.NextWatchAsync();
        watch.Tell(Told("ADDED", Pod("a", 8)));
        Assert.Equal(["Synced", "Added demo/a"], await changes.TakeAsync(2));
        watch.Abort();
        Assert.Contains("resourceVersion=8", (await world.NextWatchAsync()).Query);
        Assert.NotNull(world.Informer.Get("demo", "a"));
        Assert.Single(world.Lists);
    }

    [Fact]
    public async Task An_object_that_cannot_be_read_costs_only_itself()
    {
        var log = new CapturedLog();
        await using var world = await ScriptedPods.StartAsync(log: log);
        world.List(List(7, Pod("a", 5), """{"metadata":{"namespace":"demo","name":"odd","resourceVersion":"6"},"spec":{"nodeName":17}}"""));
        var changes = world.Run();
        var watch = await world.NextWatchAsync();
        watch.Tell(Told("MODIFIED", """{"metadata":{"namespace":"demo","name":"a","resourceVersion":"8"},"spec":"nonsense"}"""), Told("ADDED", Pod("c", 9)));
        Assert.Equal(["Added demo/a", "Synced", "Added demo/c"], await changes.TakeAsync(3));
        Assert.Equal("5", world.Informer.Get("demo", "a")!.Metadata.ResourceVersion);   // the last readable state stays
        Assert.Contains(log.Lines, l => l.Contains("demo/odd"));
        Assert.Contains(log.Lines, l => l.Contains("demo/a"));
    }

    [Fact]
    public async Task Failures_are_waited_out_longer_each_time()
    {
        var clock = new FakeTimeProvider();
        await using var world = await ScriptedPods.StartAsync(clock, random: () => 0.5);   // no spread: 0.8 s, 1.6 s
        world.RefuseNextList(500);
        world.RefuseNextList(503);
        world.List(List(7));
        var changes = world.Run();
        foreach (var wait in (double[])[0.8, 1.6])
        {
            await world.NextListAsync();
            await WaitingOnly(clock);
            clock.Advance(TimeSpan.FromSeconds(wait) - TimeSpan.FromMilliseconds(1));
            Assert.Equal(1, clock.ArmedTimers);
            Assert.Equal(0, world.WaitingLists);
            clock.Advance(TimeSpan.FromMilliseconds(1));
        }
        Assert.Equal(["Synced"], await changes.TakeAsync(1));
    }

    [Fact]
    public async Task The_server_asking_for_patience_is_heeded()
    {
        var clock = new FakeTimeProvider();
        await using var world = await ScriptedPods.StartAsync(clock, random: () => 0.5);
        world.RefuseNextList(429, retryAfter: "7");
        world.List(List(7));
        var changes = world.Run();
        await world.NextListAsync();
        await WaitingOnly(clock);
        clock.Advance(TimeSpan.FromSeconds(6.9));
        Assert.Equal(1, clock.ArmedTimers);
        clock.Advance(TimeSpan.FromSeconds(0.2));
        Assert.Equal(["Synced"], await changes.TakeAsync(1));
    }

    [Fact]
    public async Task A_server_that_ends_every_watch_at_once_is_not_asked_in_a_tight_loop()
    {
        var clock = new FakeTimeProvider();
        await using var world = await ScriptedPods.StartAsync(clock, random: () => 0);
        world.List(List(7));
        world.Run();
        (await world.NextWatchAsync()).End();
        await WaitingOnly(clock);
        Assert.Equal(0, world.WaitingWatches);
        clock.Advance(TimeSpan.FromMilliseconds(100));
        await world.NextWatchAsync();
    }

    [Fact]
    public async Task A_server_that_forgets_to_end_a_watch_is_cut_off()
    {
        var clock = new FakeTimeProvider();
        await using var world = await ScriptedPods.StartAsync(clock, random: () => 0);
        world.List(List(7));
        world.Run();
        Assert.Contains("timeoutSeconds=300", (await world.NextWatchAsync()).Query);
        await clock.TimersAsync(due => due is [var limit] && limit == TimeSpan.FromSeconds(330), Patience.Token);
        clock.Advance(TimeSpan.FromSeconds(330));
        await WaitingOnly(clock);
        clock.Advance(TimeSpan.FromSeconds(1));
        await world.NextWatchAsync();
    }

    [Fact]
    public async Task A_list_in_chunks_is_one_list()
    {
        await using var world = await ScriptedPods.StartAsync();
        world.List("""{"metadata":{"resourceVersion":"7","continue":"tok/1=","remainingItemCount":1},"items":[""" + Pod("a", 5) + "]}");
        world.List(List(7, Pod("b", 6)));
        var changes = world.Run();
        Assert.Equal(["Added demo/a", "Added demo/b", "Synced"], await changes.TakeAsync(3));
        Assert.Contains("continue=tok%2F1%3D", world.Lists.ElementAt(1));
    }

    [Fact]
    public async Task A_continue_token_that_expired_leads_to_one_whole_list()
    {
        await using var world = await ScriptedPods.StartAsync();
        world.List("""{"metadata":{"resourceVersion":"7","continue":"t"},"items":[""" + Pod("a", 5) + "]}");
        world.RefuseNextList(410);
        world.List(List(9, Pod("b", 8)));
        var changes = world.Run();
        Assert.Equal(["Added demo/b", "Synced"], await changes.TakeAsync(2));
        Assert.DoesNotContain("limit", world.Lists.ElementAt(2));
    }

    [Fact]
    public async Task An_index_follows_the_cache()
    {
        await using var world = await ScriptedPods.StartAsync();
        var byApp = world.Informer.AddIndex(p => p.Metadata.Labels.TryGetValue("app", out var app) ? [app] : Array.Empty<string>());
        world.List(List(7, Pod("a", 5, """{"app":"x"}"""), Pod("b", 6, """{"app":"x"}""")));
        var changes = world.Run();
        var watch = await world.NextWatchAsync();
        watch.Tell(Told("MODIFIED", Pod("a", 8, """{"app":"y"}""")), Told("DELETED", Pod("b", 9)));
        await changes.TakeAsync(5);
        Assert.Empty(byApp["x"]);
        Assert.Equal("a", Assert.Single(byApp["y"]).Name);
    }

    [Fact]
    public async Task A_late_subscriber_is_told_everything_that_is_there()
    {
        await using var world = await ScriptedPods.StartAsync();
        world.List(List(7, Pod("a", 5)));
        await world.Run().TakeAsync(2);
        Assert.Equal(["Added demo/a", "Synced"], await new ChangeLog(world.Informer.Subscribe()).TakeAsync(2));
    }

    /// <summary>Until the request's own time limit is gone and only the wait before the next attempt is armed.</summary>
    private static Task WaitingOnly(FakeTimeProvider clock) => clock.TimersAsync(due => due is [var wait] && wait < TimeSpan.FromSeconds(29), Patience.Token);
}
