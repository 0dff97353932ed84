using System.Net;
using System.Text.Json.Nodes;
using AmbientMesh.ControlPlane.Translation.Entries;
using AmbientMesh.Kubernetes;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.ControlPlane.Kubernetes;

/// <summary>Gives addresses to the hosts of ServiceEntries that have none, in their status (l7 reference 4.6). For one replica at a time.</summary>
/// <remarks>Every write holds only for the version that was looked at, so neither a stale watch nor a second writer can hand out an address twice unnoticed.</remarks>
public sealed class AddressAssigning(KubernetesClient client, Informer<ServiceEntry> entries, IPNetwork ipv4, IPNetwork ipv6, ILogger log)
{
    private static readonly TimeSpan Retry = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan Gathering = TimeSpan.FromMilliseconds(20);

    /// <summary>Assigns until cancelled; ends with the cancellation. What is held already is known from the first list, before anything is given out.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var plan = new AddressPlan(ipv4, ipv6);
        await entries.WaitForSyncAsync(cancellationToken);
        var changes = entries.SubscribeUntil(cancellationToken);
        Dictionary<ObjectKey, string> written = [];   // versions written upon, which the watch has not yet brought back
        while (true)
        {
            while (changes.TryRead(out _))
            {
                // All of them at once: what counts is how things are now.
            }
            var current = entries.Items;
            foreach (var key in written.Keys.Except(current.Where(e => written.GetValueOrDefault(e.Key) == e.Metadata.ResourceVersion).Select(e => e.Key)).ToList()) written.Remove(key);
            var isComplete = true;
            // While a write is not back yet, the plan would give out what it has just given out: wait for the watch.
            if (written.Count == 0)
                foreach (var assignment in Decide(plan, current))
                    if (await TryWriteAsync(assignment, cancellationToken)) written[assignment.Entry.Key] = assignment.Entry.Metadata.ResourceVersion ?? "";
                    else isComplete = false;
            if (!isComplete) await Task.Delay(Retry, client.Clock, cancellationToken);
            else if (await changes.WaitToReadAsync(cancellationToken)) await Task.Delay(Gathering, client.Clock, cancellationToken);
            else
            {
                cancellationToken.ThrowIfCancellationRequested();
                return;
            }
        }
    }

    private IReadOnlyList<AddressAssignment> Decide(AddressPlan plan, IReadOnlyList<ServiceEntry> current)
    {
        var due = plan.Decide(current, out var exhausted);
        if (exhausted.Count > 0) log.LogWarning("no address is left in {Ipv4} and {Ipv6} for {Hosts}; widen PILOT_IP_AUTOALLOCATE_IPV4_PREFIX", ipv4, ipv6, string.Join(", ", exhausted.Take(10)));
        return due;
    }

    /// <returns>False when it is to be tried again.</returns>
    private async Task<bool> TryWriteAsync(AddressAssignment assignment, CancellationToken cancellationToken)
    {
        var entry = assignment.Entry;
        var addresses = new JsonArray([.. assignment.Addresses.Select(a => new JsonObject { ["value"] = a.Value, ["host"] = a.Host })]);
        try
        {
            var change = new JsonObject
            {
                ["metadata"] = new JsonObject { ["resourceVersion"] = entry.Metadata.ResourceVersion },
                ["status"] = new JsonObject { ["addresses"] = addresses },
            };
            await client.Of(ServiceEntry.Type).PatchAsync(entry.Namespace, entry.Name, Patch.Merge(change), null, cancellationToken, "status");
            log.LogInformation("ServiceEntry {Entry}: addresses {Addresses}", entry.Key, string.Join(", ", assignment.Addresses.Select(a => $"{a.Host}={a.Value}")));
            return true;
        }
        catch (KubernetesException e) when (e.IsConflict || e.IsNotFound)
        {
            return true;   // changed or deleted meanwhile: the watch will bring what is there now
        }
        catch (KubernetesException e)
        {
            log.LogWarning("addresses of ServiceEntry {Entry} could not be written, trying again: {Problem}", entry.Key, e.Message);
            return false;
        }
    }
}
