using System.Text.Json.Nodes;

namespace AmbientMesh.Kubernetes.Tests;

public sealed class EventRecorderTests
{
    private static readonly Pod Subject = new() { Metadata = new ObjectMeta { Namespace = "demo", Name = "web-1", Uid = "u1", ResourceVersion = "7" } };

    [Fact]
    public async Task The_same_event_again_raises_the_count_of_the_first()
    {
        await using var api = await MemoryApi.StartAsync();
        var clock = new FakeTimeProvider();
        using var client = api.Client(clock);
        await using (var events = new EventRecorder(client, "istio-cni-node", "node-1"))
        {
            events.Record(Subject, warning: true, "FailedEnrollment", "no ztunnel");
            events.Record(Subject with { Metadata = Subject.Metadata with { ResourceVersion = "8" } }, warning: true, "FailedEnrollment", "no ztunnel");
            events.Record(Subject, warning: true, "FailedEnrollment", "something else");
        }
        var created = api.Requests.Where(r => r.Method == "POST").Select(r => JsonNode.Parse(r.Body)!).ToList();
        Assert.Equal(["no ztunnel", "something else"], created.Select(e => (string?)e["message"]));
        var first = created[0];
        Assert.Equal(("Warning", "Pod", "web-1", "u1", "istio-cni-node", "node-1"), (
            (string?)first["type"], (string?)first["involvedObject"]!["kind"], (string?)first["involvedObject"]!["name"], (string?)first["involvedObject"]!["uid"],
            (string?)first["source"]!["component"], (string?)first["source"]!["host"]));
        var stored = api.Find($"/api/v1/namespaces/demo/events/{(string)first["metadata"]!["name"]!}")!;
        Assert.Equal(2, (int?)stored["count"]);
        Assert.Equal(["POST", "PATCH", "POST"], api.Requests.Select(r => r.Method));
    }

    [Fact]
    public async Task An_event_the_server_has_forgotten_is_written_anew_and_one_it_refuses_is_counted_as_lost()
    {
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client(new FakeTimeProvider());
        var events = new EventRecorder(client, "c");
        events.Record(Subject, warning: false, "A", "a");
        var path = await api.Written.Reader.ReadAsync(Patience.Token);
        api.Remove(path);
        events.Record(Subject, warning: false, "A", "a");
        await api.Written.Reader.ReadAsync(Patience.Token);
        api.Fault = _ => 403;
        events.Record(Subject, warning: false, "B", "b");
        await events.DisposeAsync();
        Assert.Equal(1, events.Lost);
        Assert.Equal(2, api.Requests.Count(r => r.Method == "POST" && !r.Body.Contains("\"B\"")));
    }

    [Fact]
    public async Task Events_about_cluster_objects_go_to_default_and_long_texts_are_cut()
    {
        await using var api = await MemoryApi.StartAsync();
        using var client = api.Client(new FakeTimeProvider());
        await using (var events = new EventRecorder(client, "c"))
            events.Record(EventRecorder.ReferenceTo(new Node { Metadata = new ObjectMeta { Name = new string('n', 253) } }), warning: false, "A", new string('x', 5000));
        var written = JsonNode.Parse(api.Requests.Single().Body)!;
        Assert.Equal("/api/v1/namespaces/default/events", api.Requests.Single().Path);
        Assert.Equal((253, 1024), (((string)written["metadata"]!["name"]!).Length, ((string)written["message"]!).Length));
    }
}
