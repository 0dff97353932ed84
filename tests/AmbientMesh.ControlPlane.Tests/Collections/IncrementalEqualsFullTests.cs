using AmbientMesh.ControlPlane.Collections;
using FsCheck;
using FsCheck.Fluent;

namespace AmbientMesh.ControlPlane.Tests.Collections;

/// <summary>After any sequence of changes, in any batches, the incremental result is the one a fresh graph computes from the final inputs.</summary>
public class IncrementalEqualsFullTests
{
    private sealed record Person(string Name, string Team, int Rank);
    private sealed record Team(string Name, string Site, int MinimumRank);
    private sealed record Badge(string Person, string Team, string Site);

    private abstract record Step
    {
        public sealed record PutPerson(int Id, int TeamId, int Rank) : Step;
        public sealed record DropPerson(int Id) : Step;
        public sealed record PutTeam(int Id, int Site, int MinimumRank) : Step;
        public sealed record DropTeam(int Id) : Step;
        public sealed record EndBatch : Step;
    }

    /// <summary>Joins in every way there is: by key, by index, by index with a filter, onto a shared output key, over a union, and stacked.</summary>
    private sealed class World
    {
        public World()
        {
            People = new SourceCollection<string, Person>(Graph, "people");
            Teams = new SourceCollection<string, Team>(Graph, "teams");
            var peopleByTeam = People.IndexBy("by team", p => new[] { p.Team });
            var teamsBySite = Teams.IndexBy("by site", t => new[] { t.Site });
            Badges = People.Map("badges", p => p.Name, (context, p) => context.Get(Teams, p.Team) is { } team ? new Badge(p.Name, team.Name, team.Site) : null);
            var rosters = Teams.Map("rosters", t => t.Name, (context, t) =>
                new Entry(t.Name, string.Join(',', context.Lookup(peopleByTeam, t.Name, p => p.Rank >= t.MinimumRank).Select(p => p.Name))));
            var sites = Teams.MapMany("sites", (Entry e) => e.Key, (context, t) =>
                context.Lookup(teamsBySite, t.Site).Count > 1 ? [new Entry("site " + t.Site, $"kept by {t.Name}")] : []);
            var badgeSites = Badges.Map("badge sites", b => b.Person, (context, b) => new Entry(b.Person, $"{b.Site}: {context.Lookup(teamsBySite, b.Site).Count}"));
            All = new UnionCollection<string, Entry>(Graph, "all", [rosters, sites, badgeSites]);
            ByText = All.IndexBy("by text", e => new[] { e.Text });
            All.Subscribe(changes =>
            {
                foreach (var change in changes) Mirror(change);
            });
        }

        public CollectionGraph Graph { get; } = new();
        public SourceCollection<string, Person> People { get; }
        public SourceCollection<string, Team> Teams { get; }
        public DerivedCollection<string, Person, string, Badge> Badges { get; }
        public UnionCollection<string, Entry> All { get; }
        public Index<string, string, Entry> ByText { get; }

        /// <summary>What a subscriber that only follows changes has put together.</summary>
        public SortedDictionary<string, Entry> Followed { get; } = [];

        public void Run(IEnumerable<Step> steps)
        {
            foreach (var batch in Batches(steps)) Graph.Apply(() => batch.ForEach(Write));
        }

        public string[] Result() => [.. All.Items.Select(i => $"{i.Key}={i.Value}").Order()];

        private void Mirror(Change<string, Entry> change)
        {
            Assert.Equal(change.Old, Followed.GetValueOrDefault(change.Key));
            if (change.New is null) Followed.Remove(change.Key);
            else Followed[change.Key] = change.New;
        }

        private void Write(Step step)
        {
            switch (step)
            {
                case Step.PutPerson put: People.Set($"p{put.Id}", new Person($"p{put.Id}", $"t{put.TeamId}", put.Rank)); break;
                case Step.DropPerson drop: People.Remove($"p{drop.Id}"); break;
                case Step.PutTeam put: Teams.Set($"t{put.Id}", new Team($"t{put.Id}", $"s{put.Site}", put.MinimumRank)); break;
                case Step.DropTeam drop: Teams.Remove($"t{drop.Id}"); break;
            }
        }

        private static IEnumerable<List<Step>> Batches(IEnumerable<Step> steps)
        {
            var batch = new List<Step>();
            foreach (var step in steps.Append(new Step.EndBatch()))
            {
                if (step is not Step.EndBatch) { batch.Add(step); continue; }
                yield return batch;
                batch = [];
            }
        }
    }

    private sealed record Entry(string Key, string Text);

    private static readonly Gen<Step> Steps = Gen.Frequency(
        (4, from id in Gen.Choose(1, 6) from team in Gen.Choose(1, 4) from rank in Gen.Choose(1, 3) select (Step)new Step.PutPerson(id, team, rank)),
        (2, from id in Gen.Choose(1, 6) select (Step)new Step.DropPerson(id)),
        (3, from id in Gen.Choose(1, 4) from site in Gen.Choose(1, 2) from rank in Gen.Choose(1, 3) select (Step)new Step.PutTeam(id, site, rank)),
        (2, from id in Gen.Choose(1, 4) select (Step)new Step.DropTeam(id)),
        (3, Gen.Constant((Step)new Step.EndBatch())));

    [Fact]
    public void The_incremental_result_is_the_full_computation_after_any_sequence_of_changes()
    {
        Prop.ForAll(Steps.ListOf().ToArbitrary(), steps =>
        {
            var incremental = new World();
            incremental.Run(steps);

            var full = new World();
            full.Graph.Apply(() =>
            {
                foreach (var (key, person) in incremental.People.Items) full.People.Set(key, person);
                foreach (var (key, team) in incremental.Teams.Items) full.Teams.Set(key, team);
            });

            Assert.Equal(full.Result(), incremental.Result());
            Assert.Equal(full.Result(), incremental.Followed.Select(i => $"{i.Key}={i.Value}").Order().ToArray());
            foreach (var entry in full.All.Items) Assert.Equal(full.ByText.Lookup(entry.Value.Text), incremental.ByText.Lookup(entry.Value.Text));
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(500).WithEndSize(80));
    }

    [Fact]
    public void A_change_that_is_taken_back_within_the_batch_is_told_to_nobody()
    {
        var world = new World();
        world.Run([new Step.PutTeam(1, 1, 1), new Step.PutPerson(1, 1, 1)]);
        var told = 0;
        world.All.Subscribe(_ => told++);
        world.Run([new Step.DropPerson(1), new Step.PutPerson(1, 1, 1)]);
        Assert.Equal(0, told);
    }
}
