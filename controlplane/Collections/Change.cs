namespace AmbientMesh.ControlPlane.Collections;

/// <summary>What a batch did to one key of a collection: <see cref="Old"/> is null for an addition, <see cref="New"/> for a removal; never both.</summary>
public readonly record struct Change<TKey, TValue>(TKey Key, TValue? Old, TValue? New) where TValue : class;
