using System.Net;
using AmbientMesh.Telemetry;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Ztunnel.Dns;

/// <summary>The servers lookups are forwarded to and which of them are worth asking first. Shared by all pods; thread-safe.</summary>
/// <remarks>The file is read again when it changes. A server that did not answer is asked after the others for a while, so that it costs time only now and then.</remarks>
public sealed class NameServers(string path, TimeProvider clock, ILogger log)
{
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Avoidance = TimeSpan.FromSeconds(10);

    private readonly Lock _gate = new();
    private readonly Dictionary<IPEndPoint, long> _silentSince = [];
    private IReadOnlyList<IPEndPoint> _servers = [];
    private (DateTime Written, long Bytes)? _version;
    private long? _looked;

    /// <summary>The servers in the order to ask them; empty when none is known.</summary>
    public IReadOnlyList<IPEndPoint> InOrder()
    {
        lock (_gate)
        {
            Refresh();
            return [.. _servers.OrderBy(server => _silentSince.TryGetValue(server, out var since) && clock.GetElapsedTime(since) < Avoidance ? 1 : 0)];
        }
    }

    public void Answered(IPEndPoint server)
    {
        lock (_gate) _silentSince.Remove(server);
    }

    public void DidNotAnswer(IPEndPoint server)
    {
        lock (_gate)
        {
            if (!_silentSince.ContainsKey(server)) log.Write(LogLevel.Warning, "name server does not answer", new KeyValuePair<string, object?>("server", server));
            _silentSince[server] = clock.GetTimestamp();
        }
    }

    private void Refresh()
    {
        if (_looked is { } looked && clock.GetElapsedTime(looked) < LookAgain) return;
        _looked = clock.GetTimestamp();
        try
        {
            var file = new FileInfo(path);
            var version = (file.LastWriteTimeUtc, file.Length);
            if (version == _version) return;
            _servers = ResolverFile.NameServers(File.ReadAllText(path));
            _version = version;
            _silentSince.Clear();
            if (_servers.Count == 0) log.Write(LogLevel.Error, $"{path} names no name server: lookups of names outside the mesh fail until it does");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (_version is not null || _servers.Count == 0) log.Write(LogLevel.Error, $"{path} cannot be read, {(_servers.Count == 0 ? "lookups of names outside the mesh fail" : "the servers known before stay in use")}: {e.Message}");
            _version = null;
        }
    }
}
