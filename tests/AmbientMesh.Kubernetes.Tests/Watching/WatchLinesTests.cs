using System.Text;
using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.Kubernetes.Tests;

public sealed class WatchLinesTests
{
    [Fact]
    public async Task Lines_are_the_same_however_the_stream_is_cut_into_pieces()
    {
        string[] lines = ["{\"a\":1}", "", "{\"b\":\"" + new string('x', 9000) + "\"}", "{}"];
        var bytes = Encoding.UTF8.GetBytes(string.Join('\n', lines) + "\n");
        foreach (var piece in (int[])[1, 2, 7, 4095, 4096, 4097, bytes.Length])
        {
            var reader = new WatchLines(new PiecewiseStream(bytes, piece));
            var read = new List<string>();
            while (await reader.NextAsync(Patience.Token) is { } line) read.Add(Encoding.UTF8.GetString(line.Span));
            Assert.Equal(lines.Where(l => l.Length > 0), read);
        }
    }

    [Fact]
    public async Task An_event_without_end_is_refused()
    {
        var error = await Assert.ThrowsAsync<IOException>(async () => await new WatchLines(new EndlessStream()).NextAsync(Patience.Token));
        Assert.Contains("longer than", error.Message);
    }

    [Fact]
    public async Task A_stream_that_ends_inside_an_event_is_an_error()
    {
        var reader = new WatchLines(new MemoryStream("{\"type\":"u8.ToArray()));
        await Assert.ThrowsAsync<IOException>(async () => await reader.NextAsync(Patience.Token));
    }

    [Fact]
    public void Hostile_lines_are_errors_of_the_watch_and_never_anything_else()
    {
        string[] hostile = ["[]", "1", "\"x\"", "null", "{}", "{\"type\":1,\"object\":{}}", "{\"type\":\"ADDED\"}", "{\"type\":\"ERROR\",\"object\":[]}",
            "{\"type\":\"ERROR\",\"object\":null}", "{\"type\":\"NEW\",\"object\":{}}", "{\"type\":\"ERROR\",\"object\":{\"code\":\"x\"}}",
            "{\"type\":\"ADDED\",\"object\":", "{\"type\":\"BOOKMARK\",\"object\":7}", "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":7}}", new string('[', 200)];
        foreach (var line in hostile) Assert.ThrowsAny<KubernetesException>(() => WatchReader.Read(Encoding.UTF8.GetBytes(line), KindOf<Pod>(), "GET /x"));
    }

    [Fact]
    public void An_object_without_name_or_of_another_shape_is_unreadable()
    {
        foreach (var o in (string[])["{}", "7", "null", "[]", "{\"metadata\":{\"name\":5}}", "{\"metadata\":{\"name\":\"a\"},\"spec\":[]}"])
            Assert.IsType<WatchEvent<Pod>.Unreadable>(WatchReader.Read(Encoding.UTF8.GetBytes($"{{\"type\":\"ADDED\",\"object\":{o}}}"), KindOf<Pod>(), "GET /x"));
    }

    [Fact]
    public void Waits_double_up_to_the_cap_and_stay_within_half_of_the_step() =>
        Prop.ForAll(Gen.Choose(0, 999).ListOf(20).ToArbitrary(), draws =>
        {
            var at = 0;
            var backoff = new Backoff(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(30), () => draws[at++] / 1000.0);
            double[] steps = [1, 2, 4, 8, 16, 30, 30, 30];
            return steps.All(step => backoff.Next().TotalSeconds is var wait && wait >= step * 0.5 && wait < step * 1.5);
        }).QuickCheckThrowOnFailure();

    private static ObjectKind<T> KindOf<T>() where T : KubernetesObject, IResource<T> => T.Kind;

    private sealed class PiecewiseStream(byte[] bytes, int piece) : MemoryStream(bytes)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            base.ReadAsync(buffer[..Math.Min(piece, buffer.Length)], cancellationToken);
    }

    private sealed class EndlessStream : MemoryStream
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            buffer.Span.Fill((byte)'a');
            return ValueTask.FromResult(buffer.Length);
        }
    }
}
