using System.Text.Json.Nodes;
using AmbientMesh.Lab.Api.Objects;
using AmbientMesh.Lab.Api.Storage;

namespace AmbientMesh.Lab.Api.Bootstrap;

/// <summary>Fills ClusterRoles that have an <c>aggregationRule</c> from the roles it selects.</summary>
internal sealed class RoleAggregation(ClusterStore store)
{
    private static readonly GroupResource ClusterRoles = new("rbac.authorization.k8s.io", "clusterroles");

    public void Observe(Change change)
    {
        if (change.Resource != ClusterRoles) return;
        foreach (var role in store.List(ClusterRoles).Items.Where(r => r.Map("aggregationRule") is not null)) Fill(role);
    }

    private void Fill(JsonObject role)
    {
        var selectors = role.Objects("aggregationRule", "clusterRoleSelectors").Select(LabelSelector.FromObject).ToList();
        var rules = new List<JsonObject>();
        foreach (var source in store.List(ClusterRoles).Items.Where(s => s.Name() != role.Name() && selectors.Any(k => k.Matches(s))))
            foreach (var rule in source.Objects("rules"))
                if (!rules.Any(r => JsonTree.Same(r, rule))) rules.Add(rule.Copy());
        var combined = new JsonArray([.. rules]);
        if (!JsonTree.Same(role["rules"], combined)) store.Modify(ClusterRoles, "", role.Name(), o => o["rules"] = combined, WriteOptions.By("clusterrole-aggregation-controller"));
    }
}
